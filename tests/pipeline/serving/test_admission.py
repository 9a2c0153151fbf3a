"""What a server under load takes on and refuses, who goes first, and who is told to come again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.blocks import Box
from pipeline.config import settings
from pipeline.errors import BusyError, TooLargeError
from pipeline.serving import block_maker, recipe
from pipeline.serving.admission import Admission
from tests.pipeline.serving.conftest import Gate, Limit, Start
from tests.served import corners, probabilities_of, read_whole, wait_for

Array = npt.NDArray[Any]
MIB = 1 << 20
CHUNK = ((0, 0, 0, 0), (3, 16, 16, 16))


def test_a_request_may_take_just_as_much_as_it_may(start: Start, limit: Limit) -> None:
    layer = probabilities_of(start())
    box = Box((0, 0, 0, 0), (1, 4, 5, 6))
    limit("request_bytes", layer.n_bytes(box))
    Admission(settings()).check_size(layer, box)
    limit("request_bytes", layer.n_bytes(box) - 1)
    with pytest.raises(TooLargeError, match="ask for parts"):
        Admission(settings()).check_size(layer, box)


def test_bytes_and_blocks_may_be_just_as_many_as_they_may(limit: Limit) -> None:
    limit("flight_bytes", 100 * MIB)
    limit("flight_tasks", 4)
    limit("bulk_requests", 1)
    taken = Admission(settings())
    with taken.answer(60 * MIB, 0, False, 1.0):
        with taken.answer(30 * MIB, 10 * MIB, False, 1.0), taken.answer(0, 10 * MIB, False, 1.0):
            pass
        with pytest.raises(BusyError, match="of answers"), taken.answer(30 * MIB + 1, 10 * MIB, False, 1.0):
            pass
        with taken.answer(40 * MIB, 0, True, 1.0):  # of bulk answers, the first may be of any size
            with pytest.raises(BusyError, match="1 bulk requests") as caught, taken.answer(0, 0, True, 99.0):
                pass
            assert (caught.value.code, caught.value.retry_after) == ("bulk", 60.0)
    assert taken.statistics() == {"answers_bytes": 0, "bulk_requests": 0, "bulk_tasks": 0, "refused": 2}
    with taken.answer(1000 * MIB, 0, False, 1.0):  # a server that does nothing takes any
        pass
    taken.check_tasks(0, 5, 1.0)
    taken.check_tasks(1, 3, 1.0)
    with pytest.raises(BusyError, match="1 blocks are waiting") as caught:
        taken.check_tasks(1, 4, 0.1)
    assert caught.value.retry_after == 1.0


def test_bulk_answers_take_half_of_the_memory_at_most(limit: Limit) -> None:
    limit("flight_bytes", 100 * MIB)
    taken = Admission(settings())
    with taken.answer(20 * MIB, 0, True, 1.0):
        with taken.answer(30 * MIB, 0, True, 1.0):
            pass
        with pytest.raises(BusyError, match="of bulk answers") as caught, taken.answer(30 * MIB + 1, 0, True, 1.0):
            pass
    assert caught.value.code == "bulk"


def test_bulk_tasks_leave_one_thread_free(limit: Limit) -> None:
    taken = Admission(settings())
    for threads, turns in ((1, 1), (2, 1), (4, 3)):
        for _ in range(turns):
            assert taken.has_turn(threads)
            taken.take_turn(threads, lambda: None)
        assert not taken.has_turn(threads)
        for _ in range(turns):
            taken.end_turn()
    limit("viewer_tasks", 8)
    assert [Admission(settings()).is_bulk(missing) for missing in (8, 9)] == [False, True]


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
