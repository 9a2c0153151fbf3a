"""Events of a stage in their order, and the pace of work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.progress import BlockDone, Event, Note, Pace, Progress, StageFinished, StageStarted


def test_a_stage_tells_start_blocks_and_end_to_every_subscriber() -> None:
    first: list[Event] = []
    second: list[Event] = []
    with Progress(first.append, second.append).stage("predict", blocks=2, voxels=30) as stage:
        stage.advance(10)
        stage.advance(20)
    start, one, two, end = first
    assert start == StageStarted("predict", 2, 30)
    assert isinstance(one, BlockDone)
    assert isinstance(two, BlockDone)
    assert (one.blocks_done, one.voxels_done) == (1, 10)
    assert (two.blocks_done, two.blocks, two.voxels_done, two.seconds_left) == (2, 2, 30, 0.0)
    assert isinstance(end, StageFinished)
    assert (end.blocks, end.voxels) == (2, 30)
    assert second == first


def test_a_stage_that_fails_is_not_told_as_finished() -> None:
    told: list[Event] = []
    with pytest.raises(RuntimeError), Progress(told.append).stage("predict", blocks=1, voxels=1):
        raise RuntimeError
    assert told == [StageStarted("predict", 1, 1)]


def test_a_stage_without_voxels_is_paced_by_blocks() -> None:
    told: list[Event] = []
    with Progress(told.append).stage("pyramid", blocks=4, voxels=0) as stage:
        stage.advance()
    assert isinstance(told[1], BlockDone)
    assert told[1].seconds_left is not None
    assert told[1].seconds_left == pytest.approx(3 / told[1].rate)


def test_a_note_is_passed_on() -> None:
    told: list[Event] = []
    Progress(told.append).note("compiling")
    assert told == [Note("compiling")]


def test_pace_knows_nothing_before_the_first_block() -> None:
    pace = Pace(total=10, started=5.0)
    assert pace.rate == 0.0
    assert pace.seconds_left is None


def test_pace_forgets_a_slow_start() -> None:
    pace = Pace(total=1000, started=0.0, window=10.0)
    pace.record(1, at=100.0)  # kernels were compiled
    for second in range(1, 31):
        pace.record(1 + 10 * second, at=100.0 + second)
    assert pace.rate == pytest.approx(10.0)
    assert pace.seconds_left == pytest.approx((1000 - 301) / 10)


def test_pace_of_blocks_longer_than_its_window_uses_the_last_one() -> None:
    pace = Pace(total=100, started=0.0, window=10.0)
    pace.record(10, at=100.0)
    pace.record(20, at=150.0)
    assert pace.rate == pytest.approx(10 / 50)


@given(
    steps=st.lists(st.tuples(st.floats(0.01, 1e3), st.floats(0, 1e3)), min_size=1, max_size=50),
    window=st.floats(0.1, 1e3),
)
def test_rate_lies_between_slowest_and_fastest_step(steps: list[tuple[float, float]], window: float) -> None:
    pace = Pace(total=1e6, started=0.0, window=window)
    at = done = 0.0
    for seconds, amount in steps:
        at, done = at + seconds, done + amount
        pace.record(done, at)
    rates = [amount / seconds for seconds, amount in steps]
    assert min(rates) * 0.99 - 1e-6 <= pace.rate <= max(rates) * 1.01 + 1e-6
