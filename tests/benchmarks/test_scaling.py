"""Scaling at its tiny size: a real scheduler, stand-ins and client, and what is made of their figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import echo, harness, scaling, scaling_report
from benchmarks.machine import describe

TEXTS = Path(scaling_report.__file__).with_name("scaling_texts.md")


def test_stand_ins_run_all_blocks(tmp_path: Path) -> None:
    (row,) = scaling.simulate_workers("tiny", tmp_path, {})["rows"]
    assert (row["workers"], row["tasks"]) == (3, 6)
    assert 0 < row["efficiency"] <= 1
    assert row["memory"][-1]["done"] == 6
    assert row["cpu_ms"]["scheduler"] > 0


def test_memory_of_the_submission_does_not_follow_the_blocks() -> None:
    seen = echo.run_blocks(20_000)
    assert seen[-1]["done"] > 19_000
    assert seen[-1]["client"] - seen[1]["client"] < 2 << 20


def test_plan_of_a_hundred_terabytes_adds_up() -> None:
    found = scaling.plan_large("tiny", Path(), {})
    z, y, x = found["shape"]
    assert z * y * x == 10**14
    assert found["tasks"] == found["shards"] < found["chunks"] / 50
    assert found["task_bytes"] <= found["limits"]["task_memory"]
    few, many = found["fleets"][0], found["fleets"][-1]
    assert few["hours"] > 10 * many["hours"]
    assert few["usd"] == pytest.approx(many["usd"], rel=0.1)


def _row(workers: int, efficiency: float, load: float = 0.3, **more: Any) -> dict[str, Any]:
    cost = {"scheduler": 2.0, "workers": 2.0, "client": 1.0}
    common = {"tasks": 100, "seconds": 60.0, "tasks_a_second": 20.0, "block_seconds": 5.0, "scheduler_load": 0.1}
    return {"workers": workers, "efficiency": efficiency, "load": load, "cpu_ms": cost, **common, **more}


def _document() -> dict[str, Any]:
    ratio = {"median": 1.9, "least": 1.8, "most": 2.0, "pairs": 4}
    seconds = {"one": 20.0, "two": 10.5}
    mark = {"done": 100, "client": 80 << 20, "scheduler": 90 << 20}
    measured = {"shape": [8, 9, 10], "seconds": seconds, "cpu_seconds": {"1": 21.0, "2": 22.0}, "one_over_two": ratio}
    return {
        "size": "tiny",
        "machine": describe(),
        "measured": {**measured, "block_seconds": 5.0, "machine_load": 0.5},
        "simulated": {
            "block_seconds": 5.0,
            "rows": [_row(10, 0.96, dilation=1.0), _row(100, 0.5, 0.9, dilation=1.0), _row(100, 0.89, dilation=2.0)],
        },
        "rates": {
            "rows": [_row(100, 0.97, times=1), _row(100, 0.3, 0.95, times=64, tasks_a_second=220.0, scheduler_load=0.5)]
        },
        "memory": {
            "wanted": 1000,
            "real": {"tasks": 100, "tasks_a_second": 50.0, "memory": [mark]},
            "alone": {"1": [mark]},
        },
    }


def test_page_shows_goals_as_they_are(tmp_path: Path) -> None:
    found = harness.clean(_document())
    goals = {work: verdict for work, _, _, verdict in scaling_report.list_goals(found)}
    assert goals == {
        "two processes over one": "yes",
        "efficiency at 10 workers": "yes",
        "efficiency at 100 workers": "no",  # the row that left the machine room
        "client's memory over a million blocks": "yes",
    }
    text = scaling_report.write_page(found, tmp_path, TEXTS).read_text()
    assert "a block takes 2.00 ms of its thread, and 6% of the" in text
    assert "full at 470 blocks a second: 2,350 workers" in text
    assert "90% (the machine is full)" in text
    assert (tmp_path / "images" / "scaling.png").stat().st_size > 1000
    assert "## A hundred terabytes\n\n|" not in text


def test_page_is_that_of_the_results() -> None:
    """What lies in docs/ was made from benchmarks/results, word for word."""
    root = TEXTS.parents[1]
    results, page = root / "benchmarks" / "results" / "scaling.json", root / "docs" / "scaling.md"
    if not results.exists():
        pytest.skip("no results of scaling")
    found = json.loads(results.read_text(encoding="utf-8"))
    made = [scaling_report.SECTIONS[part][1](found[part]) for part in scaling_report.SECTIONS if part in found]
    text = page.read_text(encoding="utf-8")
    assert all(part in text for part in made)
