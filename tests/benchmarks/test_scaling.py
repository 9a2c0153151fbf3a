"""Scaling at its tiny size: a real scheduler, stand-ins and client, and what is made of their figures."""

from __future__ import annotations

from pathlib import Path

from benchmarks import scaling


def test_stand_ins_run_all_blocks(tmp_path: Path) -> None:
    found = scaling.simulate_workers("tiny", tmp_path, {})
    (row,) = found["rows"]
    assert (row["workers"], row["tasks"]) == (3, 6)
    assert 0 < row["efficiency"] <= 1
    assert row["memory"][-1]["done"] == 6
