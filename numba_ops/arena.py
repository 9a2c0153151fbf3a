"""Scratch memory that a thread keeps between tiles: page faults of fresh memory cost more than filtering a plane."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from numba_ops.tile import ALIGN, MARGIN, align

Float = npt.NDArray[np.float32]
KEPT = 2**24  # float32 that a thread keeps at most: 64 MiB, several times what tiles of the usual shape take
_kept = threading.local()


def allocate(n: int) -> Float:
    """Memory that starts at a cache line, with `MARGIN` more than asked for; not cleared."""
    memory = np.empty(n + MARGIN + ALIGN, np.float32)
    start = -(memory.ctypes.data // memory.itemsize) % ALIGN
    return memory[start : start + n + MARGIN]


class Arena:
    """Pieces of one allocation, given out one after the other; nothing is cleared."""

    def __init__(self, memory: Float) -> None:
        self._memory = memory
        self._used = 0

    def take(self, n: int) -> Float:
        """The next `n` float32, starting at a cache line, and `MARGIN` more that may be read."""
        start = self._used
        self._used = start + arena_size(n)
        return self._memory[start : start + n + MARGIN]


def arena_size(n: int) -> int:
    """What a piece of `n` float32 takes of an arena."""
    return align(n + MARGIN)


@contextmanager
def borrow(n: int) -> Iterator[Arena]:
    """An arena of `n` float32; its memory is the next one's in this thread, so nothing of it may be used afterwards."""
    kept: list[Float] = _kept.__dict__.setdefault("memory", [])
    if kept and len(kept[-1]) < n + MARGIN:
        kept.clear()  # gone before the larger one is made
    memory = kept.pop() if kept else allocate(n)
    try:
        yield Arena(memory)
    finally:
        if not kept and len(memory) <= KEPT:
            kept.append(memory)
