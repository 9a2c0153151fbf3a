"""Times of stages reach the scheduler under the names of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.cluster import connect
from pipeline.stages import timed
from tests.runs import make_request, run_quietly


def test_stages_of_a_run_are_told_from_each_other(
    golden_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[Any, float] = {}

    def keep(client: Any) -> tuple[Any, ...]:
        for worker in client.run(lambda dask_worker: dict(dask_worker.digests_total)).values():
            found.update(worker)
        return ()

    monkeypatch.setattr("pipeline.run.total_peak_bytes", lambda client=None: keep(client) if client else 0)
    run_quietly(make_request(golden_dir, tmp_path / "out.zarr"))
    stages = {key[3]: seconds for key, seconds in found.items() if key[0] == "execute" and key[2] == "predict"}
    assert {"read", "compute", "write"} <= set(stages)
    assert all(stages[name] > 0 for name in ("read", "compute", "write"))


def test_nothing_is_counted_outside_a_task() -> None:
    with timed("read"), connect("threads", 1) as client:
        assert client.submit(int, "3").result() == 3
