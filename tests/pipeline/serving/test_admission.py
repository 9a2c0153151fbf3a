"""What a server under load takes on and refuses, who goes first, and who is told to come again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.errors import (
    BusyError,
)
from pipeline.serving import block_maker, recipe
from tests.pipeline.serving.conftest import Gate, Limit, Start
from tests.served import corners, probabilities_of, read_whole, wait_for

Array = npt.NDArray[Any]
CHUNK = ((0, 0, 0, 0), (3, 16, 16, 16))


def test_too_many_blocks_are_refused_before_memory_runs_out(start: Start, limit: Limit, slow: Gate) -> None:
    limit("flight_tasks", 3)
    engine = start()
    layer = probabilities_of(engine)
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(engine.read, layer, 0, (0, 0, 0, 0), (3, 16, 32, 16))
        wait_for(lambda: engine.statistics()["in_flight"] == 2)
        with pytest.raises(BusyError, match="2 blocks are waiting") as caught:
            engine.read(layer, 0, (0, 16, 0, 0), (3, 32, 32, 16))
        assert caught.value.code == "busy"
        assert 1 <= caught.value.retry_after <= 60
        slow()
        reading.result()
    assert engine.statistics()["refused"] == 1
    assert engine.read(layer, 0, (0, 16, 0, 0), (3, 32, 32, 16)).shape == (3, 16, 32, 16)


def test_answers_in_the_making_are_bounded(start: Start, limit: Limit, slow: Gate) -> None:
    limit("flight_bytes", "1MiB")
    engine = start()
    layer = probabilities_of(engine)
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read_whole, engine, layer)
        wait_for(lambda: engine.statistics()["in_flight"] > 0)
        with pytest.raises(BusyError, match="MiB of answers are in the making"):
            read_whole(engine, layer)
        slow()
        reading.result()


def test_bulk_requests_leave_room_for_those_who_look(start: Start, limit: Limit, slow: Gate) -> None:
    limit("bulk_requests", 2)
    engine = start(workers=3)
    layer = probabilities_of(engine)
    with ThreadPoolExecutor(3) as threads:
        bulk = [threads.submit(engine.read, layer, 0, *corners(layer, 0), bulk=True) for _ in range(2)]
        wait_for(lambda: engine.statistics()["bulk_requests"] == 2 and engine.statistics()["bulk_tasks"] == 2)
        assert engine.statistics()["in_flight"] <= 2
        with pytest.raises(BusyError) as caught:
            engine.read(layer, 0, *corners(layer, 0), bulk=True)
        assert caught.value.code == "bulk"
        looking = threads.submit(engine.read, layer, 0, (0, 32, 32, 32), (3, 37, 48, 41))
        wait_for(lambda: engine.statistics()["in_flight"] >= 3)
        slow()
        values = looking.result()
        for each in bulk:
            np.testing.assert_array_equal(each.result()[:, 32:37, 32:48, 32:41], values)
    assert engine.statistics()["bulk_tasks"] == 0


def test_who_looks_goes_first(start: Start, slow: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one thread, a block for somebody looking is computed before those that bulk requests queued before it."""
    engine = start(workers=1)
    layer = probabilities_of(engine)
    order: list[tuple[int, ...]] = []
    compute = recipe.ProbabilityRecipe.compute

    def note(self: recipe.ProbabilityRecipe, level: int, box: Any) -> Array:
        order.append(box.start)
        return compute(self, level, box)

    monkeypatch.setattr(recipe.ProbabilityRecipe, "compute", note)
    maker = engine._maker
    pieces = block_maker.cover(layer, 0, layer.whole(0), lambda _: False)
    with ThreadPoolExecutor(1) as thread:
        claims = [maker.claim([piece], priority=0) for piece in pieces[:12]]
        looking = thread.submit(engine.read, layer, 0, (0, 32, 48, 32), (3, 37, 50, 41))
        wait_for(lambda: engine.statistics()["in_flight"] == 13)
        slow()
        looking.result()
        for claim in claims:
            for entry in claim.entries:
                assert entry.done.wait(20)
            maker.release(claim)
    assert order.index((0, 32, 48, 32)) < 6


def test_a_request_that_waits_too_long_is_told_to_come_again(start: Start, limit: Limit, slow: Gate) -> None:
    limit("request_seconds", 0.3)
    engine = start()
    with pytest.raises(BusyError, match=r"not computed within 0\.3 s"):
        engine.read(probabilities_of(engine), 0, *CHUNK)
    assert engine.statistics()["in_flight"] == 0
