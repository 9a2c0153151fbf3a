"""Dask arrays whose slices are computed as slices.

Dask joins an index with the task that reads a chunk only where at most two indices follow each other; after
``prob.sel(c="Nucleus").isel(z=40)[:512, :512]`` whole chunks would be computed and thrown away. `SlicedArray` joins
every basic index with its source at once: the graph of a slice has one task per chunk that it touches, and each task
asks the source for what is wanted and nothing else. Everything else about it is a Dask array.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import dask.array
import numpy as np
from dask.base import tokenize

from pipeline.indexing import full_key

Edges = tuple[tuple[int, ...], ...]
Merge = Callable[[Sequence[int]], Sequence[int]]


class ArrayLike(Protocol):
    """What a sliced array is made over: computes what it is indexed with, by integers and slices."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, key: Any) -> Any: ...


@dataclass(frozen=True, eq=False)
class View:
    """Part of an array-like: one integer or range for each axis of the source; integers drop theirs."""

    source: ArrayLike
    keys: tuple[int | range, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes that are left."""
        return tuple(len(key) for key in self.keys if isinstance(key, range))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the source."""
        return self.source.dtype

    @property
    def ndim(self) -> int:
        """Number of axes that are left."""
        return len(self.shape)

    def narrow(self, index: Any) -> View | None:
        """The part of this part that an index of integers and slices means; None if it has anything else."""
        parts = iter(full_key(index, self.ndim))
        keys = [key if isinstance(key, int) else _narrow(key, next(parts)) for key in self.keys]
        return None if None in keys else View(self.source, tuple(k for k in keys if k is not None))

    def __getitem__(self, index: Any) -> Any:
        """Values of the source."""
        view = self.narrow(index)
        if view is None:
            return np.asarray(self[...])[index]
        return self.source[tuple(key if isinstance(key, int) else _slice(key) for key in view.keys)]

    def chunks(self, edges: Edges, merge: Merge | None) -> Edges:
        """How the source's chunks, given by their lengths along each axis, divide the axes that are left."""
        spans = [abs(key[-1] - key[0]) + 1 if isinstance(key, range) and key else 1 for key in self.keys]
        merged = merge(spans) if merge is not None else [1] * len(spans)
        return tuple(
            _join(_divide(key, sizes), count)
            for key, sizes, count in zip(self.keys, edges, merged, strict=True)
            if isinstance(key, range)
        )


class SlicedArray(dask.array.Array):
    """A Dask array over a `View`; made by `sliced_array`."""

    _view: View
    _edges: Edges
    _base: str
    _merge: Merge | None

    @property
    def view_of_source(self) -> View:
        """What it is made over: for tasks that read boxes which are no chunks."""
        return self._view

    def __getitem__(self, index: Any) -> Any:
        view = self._view.narrow(index) if _is_basic(index) else None
        if view is None:
            return super().__getitem__(index)
        return _make(view, self._edges, self._base, self._merge)

    def __reduce__(self) -> Any:
        return _make, (self._view, self._edges, self._base, self._merge)


def sliced_array(source: ArrayLike, chunks: Sequence[int], name: str, merge: Merge | None = None) -> SlicedArray:
    """A Dask array over an array-like.

    Parameters
    ----------
    source : ArrayLike
        Picklable, indexed by tasks in any thread or process.
    chunks : sequence of int
        Shape of a chunk, in the source's axes.
    name : str
        Name of the Dask array: must tell sources with different values apart.
    merge : callable, optional
        Given how far a part reaches along each axis of the source, how many neighbouring chunks one task takes there.
    """
    edges = tuple(
        tuple(min(size, n - start) for start in range(0, n, size)) or (0,)
        for n, size in zip(source.shape, (max(c, 1) for c in chunks), strict=True)
    )
    return _make(View(source, tuple(range(n) for n in source.shape)), edges, name, merge)


def _make(view: View, edges: Edges, base: str, merge: Merge | None) -> SlicedArray:
    whole = all(key == range(n) for key, n in zip(view.keys, view.source.shape, strict=True))
    name = base if whole else f"{base}-{tokenize(view.keys)}"
    plain = dask.array.from_array(
        view,
        chunks=view.chunks(edges, merge),
        name=name,
        meta=np.empty((0,) * view.ndim, view.dtype),
        asarray=False,
        inline_array=False,  # what the source holds travels to each worker once, not with every task
    )
    array = SlicedArray(plain.dask, plain.name, plain.chunks, meta=plain._meta)
    array._view, array._edges, array._base, array._merge = view, edges, base, merge
    return array


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is Ellipsis or isinstance(part, slice | int | np.integer) for part in parts)


def _narrow(key: range, part: Any) -> int | range | None:
    if isinstance(part, slice):
        return key[part]
    if isinstance(part, int | np.integer):
        try:
            return key[operator.index(part)]
        except IndexError:
            raise IndexError(f"index {part} is out of bounds for an axis of length {len(key)}") from None
    return None


def _slice(key: range) -> slice:
    if not key:
        return slice(0, 0)
    stop = key[-1] + (1 if key.step > 0 else -1)
    return slice(key.start, None if stop < 0 else stop, key.step)


def _divide(key: range, sizes: Sequence[int]) -> tuple[int, ...]:
    """How many elements of a range fall into each of consecutive intervals; empty intervals are left out."""
    if not key:
        return (0,)
    ends = np.cumsum(sizes)
    counts = np.bincount(np.searchsorted(ends, np.arange(key.start, key.stop, key.step), side="right"))
    ordered = counts if key.step > 0 else counts[::-1]
    return tuple(int(n) for n in ordered if n)


def _join(sizes: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Neighbours taken together, `count` at a time."""
    return tuple(sum(sizes[i : i + count]) for i in range(0, len(sizes), count))
