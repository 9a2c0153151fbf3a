"""Geometry of boxes and grids, always over the axes (t, z, y, x); no arrays, no I/O.

A volume without one of these axes has length 1 there. Channels are never cut: a block holds all of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

AXES = "tzyx"
Index = tuple[int, int, int, int]


def _index(values: Sequence[int]) -> Index:
    t, z, y, x = (int(v) for v in values)
    return t, z, y, x


@dataclass(frozen=True, order=True)
class Box:
    """A half-open box of voxels.

    Parameters
    ----------
    start, stop : tuple of int, (t, z, y, x)
        First voxel inside and first voxel outside, ``start <= stop`` on every axis.
    """

    start: Index
    stop: Index

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Box:
        """The box of an array of this shape, (t, z, y, x)."""
        return cls((0, 0, 0, 0), _index(shape))

    @property
    def shape(self) -> Index:
        """Voxels along (t, z, y, x)."""
        return _index([b - a for a, b in zip(self.start, self.stop, strict=True)])

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    def slices(self, origin: Sequence[int] = (0, 0, 0, 0)) -> tuple[slice, slice, slice, slice]:
        """Slices along (t, z, y, x) into an array whose first voxel lies at `origin`."""
        t, z, y, x = (slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, origin, strict=True))
        return t, z, y, x

    def grow(self, halo_zyx: Sequence[int], limit: Box) -> Box:
        """Add `halo_zyx` voxels on each side, clipped at `limit`."""
        halo = (0, *halo_zyx)
        return Box(
            _index([max(a - h, lo) for a, h, lo in zip(self.start, halo, limit.start, strict=True)]),
            _index([min(b + h, hi) for b, h, hi in zip(self.stop, halo, limit.stop, strict=True)]),
        )

    def shift(self, by: Sequence[int]) -> Box:
        """The box moved by `by` voxels along (t, z, y, x)."""
        return Box(
            _index([a + d for a, d in zip(self.start, by, strict=True)]),
            _index([b + d for b, d in zip(self.stop, by, strict=True)]),
        )

    def contains(self, other: Box) -> bool:
        """Whether `other` lies inside, borders included."""
        return all(a <= b for a, b in zip(self.start, other.start, strict=True)) and all(
            a >= b for a, b in zip(self.stop, other.stop, strict=True)
        )

    def __str__(self) -> str:
        return ",".join(f"{k}={a}:{b}" for k, a, b in zip(AXES, self.start, self.stop, strict=True))


def grid_shape(region: Box, block: Sequence[int]) -> Index:
    """Number of blocks along (t, z, y, x) that cover `region`."""
    return _index([-(-n // b) for n, b in zip(region.shape, block, strict=True)])


def grid(region: Box, block: Sequence[int]) -> Iterator[Box]:
    """Boxes of shape `block` that cover `region` once, in C order; the last along an axis may be smaller.

    Parameters
    ----------
    region : Box
        What to cover; the grid starts at its first voxel.
    block : sequence of int, (t, z, y, x)
        Shape of a block, each >= 1.
    """
    edges = [
        [(a, min(a + b, hi)) for a in range(lo, hi, b)]
        for lo, hi, b in zip(region.start, region.stop, block, strict=True)
    ]
    for cell in itertools.product(*edges):
        yield Box(_index([a for a, _ in cell]), _index([b for _, b in cell]))


def halve(region: Box, block: Sequence[int]) -> tuple[Box, Box] | None:
    """Cut a region of several blocks in two along its longest axis, or along t, since times have nothing in common.

    Parameters
    ----------
    region : Box
        Begins at the border of a block.
    block : sequence of int, (t, z, y, x)
        Shape of a block, which is not cut.

    Returns
    -------
    tuple of Box or None
        The first has as many blocks along the axis as the second, or one more; None if there is one block only.
    """
    counts = grid_shape(region, block)
    cut = [axis for axis in range(4) if counts[axis] > 1]
    if not cut:
        return None
    axis = 0 if 0 in cut else max(cut, key=lambda i: region.shape[i])
    middle = list(region.start)
    middle[axis] += (counts[axis] + 1) // 2 * block[axis]
    ends = list(region.stop)
    ends[axis] = middle[axis]
    return Box(region.start, _index(ends)), Box(_index(middle), region.stop)
