"""Scratch memory of a thread."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from numba_ops import arena
from numba_ops.arena import Arena, arena_size, borrow
from numba_ops.tile import ALIGN, MARGIN
from tests.numba_ops.stacks import compute, every_feature


def _address(n: int = 1000) -> int:
    with borrow(n) as lent:
        return lent.take(10).ctypes.data


def test_pieces_start_at_cache_lines_and_do_not_overlap() -> None:
    with borrow(arena_size(5) + arena_size(40)) as lent:
        one, two = lent.take(5), lent.take(40)
        assert (len(one), len(two)) == (5 + MARGIN, 40 + MARGIN)
        assert one.ctypes.data % (4 * ALIGN) == two.ctypes.data % (4 * ALIGN) == 0
        assert not np.shares_memory(one, two)


def test_memory_is_kept_by_its_thread_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    first = _address()
    assert _address() == first
    with borrow(1000) as lent:
        assert _address() != lent.take(10).ctypes.data  # two at once do not share
    elsewhere: list[int] = []
    with borrow(1000) as lent:
        thread = threading.Thread(target=lambda: elsewhere.append(_address()))
        thread.start()
        thread.join()
        assert elsewhere != [lent.take(10).ctypes.data]
    monkeypatch.setattr(arena, "KEPT", 10)
    _address()
    assert arena._kept.memory == []


def test_streams_that_run_at_once_in_one_thread_do_not_share_memory() -> None:
    from numba_ops.features import slabs

    volume = np.random.default_rng(0).integers(0, 255, (1, 8, 12, 12), np.uint8)
    stack = every_feature([0.7], [False])
    want = compute(volume, stack)
    arguments = (volume, (0, 0, 0), (8, 12, 12), [(0, 8), (0, 12), (0, 12)], stack)
    for (z, one), (_, two) in zip(slabs(*arguments), slabs(*arguments), strict=True):
        assert np.array_equal(one, want[:, z : z + 4])
        assert np.array_equal(two, want[:, z : z + 4])


def test_an_arena_may_be_larger_than_what_was_kept() -> None:
    _address(10)
    with borrow(arena_size(5000)) as lent:
        assert isinstance(lent, Arena)
        assert len(lent.take(5000)) == 5000 + MARGIN
