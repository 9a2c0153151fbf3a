"""Decoded chunks that a process keeps, so that neighbouring boxes do not decode the same chunk again.

A chunk, strip, tile or picture is decoded as a whole, whatever part of it is wanted: one plane of 64^3 chunks decodes
64 times what it asks for, and the blocks of a run decode a TIFF's page again and again where the page is one strip. A
box that needs most of what it decodes is not kept: it would only push out what is.

Measured as time of the core, 64 x 128 x 128 blocks with a halo of 12 from 128 x 384 x 384 bytes, without and with:
Zarr of 64^3 chunks 116 and 40 ms, of one chunk 302 and 40, HDF5 in gzip of 32 x 64 x 64 173 and 103, of one chunk 1,766
and 98, TIFF of one strip a page 512 and 68, of strips of 16 lines 428 and 325. Small reads of which nothing is used
again lose up to a quarter to the bookkeeping: one pass over planes of HDF5 23 and 29 ms, over tiles of 64^3 chunks of
Zarr 12 and 14.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config import settings

Array = npt.NDArray[Any]
Index = tuple[int, ...]
Key = tuple[str, Index]
MOST_WASTE = 1.25  # decoded voxels for one that is wanted, up to which nothing is kept


class ChunkCache:
    """Chunks by owner and index, least recently used dropped first; several threads decode a chunk once.

    Parameters
    ----------
    limit : callable
        Gives the bytes to keep.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # a thread of the parent may have held the lock

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self.nbytes = 0

    def get(
        self, owner: str, indices: Sequence[Index], decode: Callable[[list[Index]], Iterable[Array]]
    ) -> list[Array]:
        """Chunks of one owner; read-only.

        Parameters
        ----------
        owner : str
            Another one whenever the data is another.
        indices : sequence of tuple of int
        decode : callable
            Gives the chunks of some of the indices, in their order. What it raises is not kept.
        """
        entries, mine = self._claim(owner, indices)
        try:
            for (key, entry), chunk in zip(mine, decode([key[1] for key, _ in mine]) if mine else (), strict=True):
                self._keep(key, entry, chunk)
        finally:
            self._let_go(mine)
        found = []
        for index, entry in zip(indices, entries, strict=True):
            entry.done.wait()
            found.append(next(iter(decode([index]))) if entry.chunk is None else entry.chunk)
        return found

    def forget(self) -> None:
        """Drop all chunks."""
        with self._lock:
            self._entries.clear()
            self.nbytes = 0

    def _claim(self, owner: str, indices: Sequence[Index]) -> tuple[list[_Entry], list[tuple[Key, _Entry]]]:
        """The entry of each chunk, and those that nobody has begun to decode."""
        entries, mine = [], []
        with self._lock:
            for index in indices:
                key = (owner, index)
                entry = self._entries.get(key)
                if entry is None:
                    entry = self._entries[key] = _Entry()
                    mine.append((key, entry))
                else:
                    self._entries.move_to_end(key)
                entries.append(entry)
        return entries, mine

    def _keep(self, key: Key, entry: _Entry, chunk: Array) -> None:
        chunk.setflags(write=False)
        entry.chunk = chunk
        entry.done.set()
        with self._lock:
            if self._entries.get(key) is not entry:  # all were forgotten meanwhile
                return
            self.nbytes += chunk.nbytes
            while self.nbytes > self._limit():
                oldest = next(k for k, e in self._entries.items() if e.chunk is not None)
                dropped = self._entries.pop(oldest).chunk
                self.nbytes -= dropped.nbytes if dropped is not None else 0

    def _let_go(self, mine: list[tuple[Key, _Entry]]) -> None:
        """Drop what was claimed and not decoded, and wake those who wait for it."""
        with self._lock:
            for key, entry in mine:
                if entry.chunk is None:
                    entry.done.set()
                    if self._entries.get(key) is entry:
                        del self._entries[key]


class _Entry:
    """A chunk, or the promise of one."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.chunk: Array | None = None


CHUNKS = ChunkCache(lambda: settings().chunk_cache)


def read_through(
    owner: str,
    shape: Sequence[int],
    unit: Sequence[int],
    dtype: np.dtype[Any],
    box: tuple[slice, ...],
    fetch: Callable[[tuple[slice, ...]], Array],
    fetch_units: Callable[[list[tuple[slice, ...]]], Iterable[Array]],
) -> Array:
    """The voxels of a box, through the chunks that are kept where it needs but a part of what it decodes.

    Parameters
    ----------
    owner : str
        Names the data.
    shape, unit : sequence of int
        Of the array, and of what is decoded as a whole.
    dtype : dtype
    box : tuple of slice
        Inside the array, not empty.
    fetch : callable
        Gives the voxels of a box from the file.
    fetch_units : callable
        Gives those of several units, one by one; each keeps nothing else alive.
    """
    grid = [range(s.start // u, -(-s.stop // u)) for s, u in zip(box, unit, strict=True)]
    spans = [slice(r[0] * u, min(r[-1] * u + u, n)) for r, u, n in zip(grid, unit, shape, strict=True)]
    decoded, wanted = volume(spans), volume(box)
    if decoded <= MOST_WASTE * wanted or decoded * dtype.itemsize > settings().chunk_cache:
        return fetch(box)

    def place(index: Index) -> tuple[slice, ...]:
        return tuple(slice(i * u, min(i * u + u, n)) for i, u, n in zip(index, unit, shape, strict=True))

    def decode(indices: list[Index]) -> Iterator[Array]:
        return (np.asarray(chunk, dtype) for chunk in fetch_units([place(index) for index in indices]))

    found = np.empty([s.stop - s.start for s in box], dtype)
    indices = list(itertools.product(*grid))
    for index, chunk in zip(indices, CHUNKS.get(owner, indices, decode), strict=True):
        there = place(index)
        common = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(there, box, strict=True))
        found[inside(common, box)] = chunk[inside(common, there)]
    return found


def volume(box: Iterable[slice]) -> int:
    """Voxels of a box."""
    return math.prod(s.stop - s.start for s in box)


def inside(box: Iterable[slice], outer: Iterable[slice]) -> tuple[slice, ...]:
    """A box in the coordinates of one that holds it."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, outer, strict=True))
