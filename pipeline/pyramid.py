"""The coarser levels of an image: their geometry, and the kernels that make one from the one before.

Level k halves every spatial axis (z, y, x) of level k - 1, rounding up, until a level fits into one chunk; t and c
stay. Voxel i of level k stands for the level-0 voxels ``i * f .. (i + 1) * f`` with ``f = 2**k``, clipped at the
image's end, so the last voxel along an axis may stand for fewer. An axis that has become 1 long halves no more.

"mean": level k is the mean of those level-0 voxels, up to the rounding of each level: the last voxels are weighted
by the part of them that lies inside the image. "stride": level k holds every f-th voxel, which suits labels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.images import SPATIAL, ImageSpec, Reduction, pack

Array = npt.NDArray[Any]
Span = tuple[tuple[int, ...], tuple[int, ...]]
Part = tuple[int, tuple[int, ...], Array]  # of a level, its first voxel, its values
SLAB_BYTES = 1 << 20  # halved at a time: its sums stay in cache. 1.0 ns a voxel of two classes; with 2^18 1.7


@dataclass(frozen=True)
class Level:
    """Geometry of one level, each value in the order of the image's dims.

    Parameters
    ----------
    shape, chunks : tuple of int
        Voxels of the level and of a chunk of it.
    factors : tuple of int
        Level-0 voxels to a voxel of this level.
    last : tuple of float
        Part of the last voxel along each axis that lies inside the image, 0 < part <= 1.
    shards : tuple of int, optional
        Voxels of a file that holds several chunks.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    factors: tuple[int, ...]
    last: tuple[float, ...]
    shards: tuple[int, ...] | None = None

    def boxes(self) -> Iterator[Span]:
        """(start, stop) of each file (shard or chunk), in C order, clipped at the level's end."""
        return chunk_boxes(self.shape, self.shards or self.chunks)


class LevelBlock(NamedTuple):
    """One file (shard or chunk) of a coarser level: ``start .. stop`` in the order of the image's dims."""

    level: int
    start: tuple[int, ...]
    stop: tuple[int, ...]


def levels(spec: ImageSpec) -> tuple[Level, ...]:
    """All levels of an image, level 0 first.

    Parameters
    ----------
    spec : ImageSpec
        The image; its chunks say when to stop.

    Examples
    --------
    >>> spec = ImageSpec("p", "zyx", (5, 100, 64), (32, 32, 32), "uint8")
    >>> [level.shape for level in levels(spec)]
    [(5, 100, 64), (3, 50, 32), (2, 25, 16)]
    >>> levels(spec)[2].factors, levels(spec)[2].last
    ((4, 4, 4), (0.25, 1.0, 1.0))
    """
    found = [_level(spec, spec.shape, tuple(1 for _ in spec.dims))]
    while any(n > c for a, n, c in zip(spec.dims, found[-1].shape, spec.chunks, strict=True) if a in SPATIAL):
        before = found[-1]
        halved = [a in SPATIAL and n > 1 for a, n in zip(spec.dims, before.shape, strict=True)]
        shape = tuple(-(-n // 2) if h else n for n, h in zip(before.shape, halved, strict=True))
        factors = tuple(f * 2 if h else f for f, h in zip(before.factors, halved, strict=True))
        found.append(_level(spec, shape, factors))
    return tuple(found)


def _level(spec: ImageSpec, shape: tuple[int, ...], factors: tuple[int, ...]) -> Level:
    chunks = tuple(min(c, n) for c, n in zip(spec.chunks, shape, strict=True))
    last = tuple((n0 - (n - 1) * f) / f for n0, n, f in zip(spec.shape, shape, factors, strict=True))
    return Level(shape, chunks, factors, last, pack(spec.shards, chunks, shape))


def chunk_boxes(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[Span]:
    """(start, stop) of the chunks that cover `shape` once, in C order, clipped at its end.

    Examples
    --------
    >>> list(chunk_boxes((3, 2), (2, 2)))
    [((0, 0), (2, 2)), ((2, 0), (3, 2))]
    """
    starts = itertools.product(*(range(0, n, c) for n, c in zip(shape, chunks, strict=True)))
    for start in starts:
        yield start, tuple(min(a + c, n) for a, c, n in zip(start, chunks, shape, strict=True))


def source_box(before: Level, after: Level, start: Sequence[int], stop: Sequence[int]) -> Span:
    """The box of level `before` that the box ``start .. stop`` of the next level `after` is made from."""
    steps = [b // a for a, b in zip(before.factors, after.factors, strict=True)]
    low = tuple(a * s for a, s in zip(start, steps, strict=True))
    high = tuple(min(b * s, n) for b, s, n in zip(stop, steps, before.shape, strict=True))
    return low, high


def weights_at(level: Level, stop: Sequence[int]) -> tuple[float, ...]:
    """Weight of the last voxel of a box of `level` along each axis: 1, or its part inside the image."""
    return tuple(w if b == n else 1.0 for w, b, n in zip(level.last, stop, level.shape, strict=True))


def coarsen(
    array: Any, spec: ImageSpec, before: Level, after: Level, start: Sequence[int], stop: Sequence[int]
) -> Array:
    """A box of a level from the array of the level before it, of which a chunk is in memory at a time.

    Parameters
    ----------
    array : array-like, axes `spec.dims`
        All of level `before`.
    spec : ImageSpec
    before, after : Level
    start, stop : sequence of int
        The box of `after`; starts at a chunk's border.
    """
    made = np.empty([b - a for a, b in zip(start, stop, strict=True)], spec.dtype)
    steps = [b // a for a, b in zip(before.factors, after.factors, strict=True)]
    pieces = [c if c % s else c // s for c, s in zip(before.chunks, steps, strict=True)]
    for inner in chunk_boxes(made.shape, pieces):
        outer = [[a + n for a, n in zip(start, corner, strict=True)] for corner in inner]
        low, high = source_box(before, after, *outer)
        block = np.asarray(array[slices(low, high)])
        made[slices(*inner)] = shrink(block, spec.dims, weights_at(before, high), spec.reduce)
    return made


def cascade(spec: ImageSpec, kept: Sequence[Level], start: Sequence[int], values: Array) -> Iterator[Part]:
    """What of the coarser levels a box of level 0 covers wholly, as whole files.

    Parameters
    ----------
    spec : ImageSpec
    kept : sequence of Level
        The image's levels, level 0 first; no others are made.
    start : sequence of int
        First voxel of the box.
    values : ndarray, axes `spec.dims`
        Values of the box.

    Yields
    ------
    level : int
        1, 2, ... as far as there is a whole file.
    start : tuple of int
        First voxel of the part in this level.
    values : ndarray
        Values of the part; the same as from all of the level before.
    """
    for k, (before, after) in enumerate(itertools.pairwise(kept), start=1):
        high = tuple(a + n for a, n in zip(start, values.shape, strict=True))
        steps = [b // a for a, b in zip(before.factors, after.factors, strict=True)]
        low = tuple(-(-a // s) for a, s in zip(start, steps, strict=True))
        stop = tuple(-(-b // s) if b == n else b // s for b, s, n in zip(high, steps, before.shape, strict=True))
        files = list(zip(low, stop, after.shards or after.chunks, after.shape, strict=True))
        first = tuple(-(-a // c) * c for a, _, c, _ in files)
        end = tuple(b if b == n else b // c * c for _, b, c, n in files)
        if any(a >= b for a, b in zip(first, end, strict=True)):
            return
        inside = slices(*source_box(before, after, low, stop))
        moved = tuple(slice(i.start - a, i.stop - a) for i, a in zip(inside, start, strict=True))
        values, start = shrink(values[moved], spec.dims, weights_at(before, high), spec.reduce), low
        yield k, first, values[tuple(slice(a - o, b - o) for a, b, o in zip(first, end, low, strict=True))]


def slices(start: Sequence[int], stop: Sequence[int]) -> tuple[slice, ...]:
    """A box as an index."""
    return tuple(slice(a, b) for a, b in zip(start, stop, strict=True))


def shrink(block: Array, dims: str, last: Sequence[float], reduce: Reduction) -> Array:
    """Halve the spatial axes of a block that starts at an even voxel.

    Parameters
    ----------
    block : ndarray, axes `dims`
        Voxels of one level, any of the types of `ImageSpec`.
    dims : str
        Names of its axes; z, y and x are halved, rounding up.
    last : sequence of float, in the order of `dims`
        Weight of the last voxel along each axis, the others weigh 1.
    reduce : {"mean", "stride"}
        Mean of 2 voxels along each axis, or the first of them.

    Returns
    -------
    ndarray
        Of the block's type. Means of floats are taken in float32 along z, then y, then x; means of integers are
        exact, then rounded half to even. The values do not depend on how an image was cut into blocks.

    Examples
    --------
    >>> shrink(np.array([[1, 2, 9]], np.uint8), "yx", (1.0, 1.0), "mean")
    array([[2, 9]], dtype=uint8)
    """
    if reduce == "stride":
        return np.ascontiguousarray(block[tuple(slice(None, None, 2 if a in SPATIAL else 1) for a in dims)])
    made = np.empty([-(-n // 2) if a in SPATIAL else n for a, n in zip(dims, block.shape, strict=True)], block.dtype)
    axis = next(i for i, a in enumerate(dims) if a in SPATIAL)
    step = max(SLAB_BYTES * made.shape[axis] // max(block.nbytes, 1), 1)
    for start in range(0, made.shape[axis], step):
        stop = min(start + step, made.shape[axis])
        weights = [w if i != axis or stop == made.shape[axis] else 1.0 for i, w in enumerate(last)]
        place = (slice(None),) * axis
        made[(*place, slice(start, stop))] = _mean_pairs(block[(*place, slice(2 * start, 2 * stop))], dims, weights)
    return made


def _mean_pairs(block: Array, dims: str, last: Sequence[float]) -> Array:
    """Means over pairs along each spatial axis, in the type that they are exact or summed in."""
    whole = block.dtype.kind in "iu"
    total, kind = block, np.dtype("float32")
    if whole:  # sums of eight fit into 32 bits, unless one is weighted or as long already
        kind = np.dtype("uint32" if block.dtype.itemsize < 4 and all(w == 1.0 for w in last) else "float64")
    for axis, name in enumerate(dims):
        if name in SPATIAL:
            total = _add_pairs(total, axis, last[axis], kind)
    weights = _pair_weights(block.shape, dims, last)
    mean: Array = total / weights if whole else total / weights.astype(np.float32)
    return np.rint(mean, out=mean) if whole else mean


def _add_pairs(values: Array, axis: int, last: float, kind: np.dtype[Any]) -> Array:
    """Sum neighbours along an axis, the very last voxel weighted; a voxel without neighbour stands alone."""
    place = (slice(None),) * axis
    even, odd = values[(*place, slice(0, None, 2))], values[(*place, slice(1, None, 2))]
    total = np.empty(even.shape, kind)
    pairs = odd.shape[axis]
    both = (*place, slice(0, pairs))
    np.add(even[both], odd, out=total[both], dtype=kind)
    if pairs < even.shape[axis]:
        alone = (*place, slice(pairs, None))
        total[alone] = even[alone] * kind.type(last)
    elif last != 1.0:
        end = (*place, slice(pairs - 1, None))
        total[end] = even[end] + odd[end] * kind.type(last)
    return total


def _pair_weights(shape: Sequence[int], dims: str, last: Sequence[float]) -> npt.NDArray[np.float64]:
    """What the sums of `_add_pairs` are to be divided by, broadcastable to them.

    One product instead of a division an axis: with integers each sum is exact and divided once, so that a mean of
    exactly one half is seen as such.
    """
    product = np.ones((1,) * len(dims))
    for axis, name in enumerate(dims):
        if name in SPATIAL:
            along = np.ones(shape[axis])
            along[-1] = last[axis]
            pairs = along[0::2].copy()
            pairs[: len(along) // 2] += along[1::2]
            product = product * pairs.reshape([-1 if i == axis else 1 for i in range(len(dims))])
    return product


def estimate_bytes(images: Sequence[ImageSpec], pyramid: bool = True) -> int:
    """Bytes of all values of an output before compression.

    Parameters
    ----------
    images : sequence of ImageSpec
        Its images.
    pyramid : bool
        Whether the coarser levels are kept (zarr) or not (HDF5, NPY).
    """
    kept = [(spec, level) for spec in images for level in levels(spec)[: None if pyramid else 1]]
    return sum(math.prod(level.shape) * spec.itemsize for spec, level in kept)
