from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

import pytest

from benchmarks import harness


def _contestants(log: list[str], seconds: dict[str, float]) -> dict[str, harness.Contestant]:
    def make(name: str) -> harness.Contestant:
        def run() -> float:
            log.append(name)
            return seconds[name]

        return run

    return {name: make(name) for name in seconds}


def test_contestants_run_in_turn_and_the_first_one_changes() -> None:
    log: list[str] = []
    harness.run_rounds(_contestants(log, {"ours": 1.0, "peer": 3.0}), 3, 60.0)
    assert log == ["ours", "ours", "peer", "peer", "ours", "ours", "peer"]


def test_only_those_that_need_it_run_before() -> None:
    log: list[str] = []
    rounds = harness.run_rounds(_contestants(log, {"ours": 1.0, "peer": 3.0}), 1, 60.0, warm=())
    assert log == ["ours", "peer"]
    assert rounds.seconds == {"ours": [1.0], "peer": [3.0]}


def test_one_round_runs_however_small_the_budget() -> None:
    rounds = harness.run_rounds(_contestants([], {"ours": 1.0}), 10, 0.0)
    assert rounds.seconds == {"ours": [1.0]}


def test_ratio_is_the_median_over_pairs() -> None:
    rounds = harness.Rounds({"slow": [2.0, 12.0, 30.0], "fast": [1.0, 2.0, 3.0]})
    assert rounds.ratio("slow", "fast") == {"median": 6.0, "least": 2.0, "most": 10.0, "pairs": 3}
    assert rounds.ratio("slow", "fast", scale=2)["median"] == 12.0


def test_who_did_not_take_part_has_no_figures() -> None:
    rounds = harness.Rounds({"ours": [1.0]})
    assert math.isnan(rounds.median("vigra"))
    assert math.isnan(rounds.ratio("vigra", "ours")["median"])


def test_timed_repeats_short_work() -> None:
    done: list[float] = []
    seconds = harness.timed(lambda: done.append(time.perf_counter()), least=0.01)()
    assert len(done) > 1
    assert 0 < seconds < 0.01


def test_pinned_gives_cores_back() -> None:
    before = os.sched_getaffinity(0)
    with harness.pinned(1) as cores:
        assert os.sched_getaffinity(0) == set(cores)
        assert len(cores) == 1
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(("value", "kept"), [(math.nan, None), ({"a": [1.23456789, math.inf]}, {"a": [1.23457, None]})])
def test_saved_numbers_are_ones_that_json_has_words_for(tmp_path: Path, value: object, kept: object) -> None:
    path = tmp_path / "new" / "result.json"
    harness.save(path, {"value": value})
    assert json.loads(path.read_text()) == {"value": kept}
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]
