"""What is measured of a server: the shares that its prices rest on, and how results are shown."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import bench_shape, serving_tables
from benchmarks.goals import list_goals

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def test_shares_are_measured_for_volumes_and_planes() -> None:
    found = bench_shape.measure("tiny")
    rows = found["shares"]
    assert [len(row["halo"]) for row in rows] == [3, 3]
    assert all(row["forest_ns"] + row["filters_ns"] > 0 for row in rows)
    shown = serving_tables.tell_shares(found).splitlines()
    assert [line.split("|")[1].strip() for line in shown[2:]] == ["small-3d", "plane-33"]


def test_a_load_is_shown_with_its_goals() -> None:
    found = json.loads((RESULTS / "serve.json").read_text("utf-8"))
    shown = serving_tables.tell_serving(found)
    assert f"{found['stampede']['requests']} clients at once for one cold chunk: 1 computation, 1 body" in shown
    verdicts = {goal.work: goal.verdict for goal in list_goals({"serve": found})}
    assert verdicts["serving, overload, other statuses than 200, 429, 503"] == "yes"
    assert len(verdicts) == 7
