"""Which blocks of a frame are merged with which: groups of neighbours, groups of groups, one root.

Pure geometry, over (z, y, x). Level 0 are the blocks; a node of level k covers up to `GROUP` nodes of level k - 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

Cell = tuple[int, int, int]

GROUP = 32  # so n blocks are merged by n / 31 tasks, one after the other no more than log32 n
FACE_STEPS: tuple[Cell, ...] = ((0, 0, 1), (0, 1, 0), (1, 0, 0))
FULL_STEPS: tuple[Cell, ...] = tuple(
    step for step in itertools.product((-1, 0, 1), (-1, 0, 1), (-1, 0, 1)) if step > (0, 0, 0)
)


def steps(connectivity: str) -> tuple[Cell, ...]:
    """The ways from a block to those neighbours that come after it."""
    return FULL_STEPS if connectivity == "full" else FACE_STEPS


@dataclass(frozen=True)
class Tree:
    """The nodes above the blocks of one frame.

    Parameters
    ----------
    image, block : tuple of int, (z, y, x)
        Shape of the frame, and of a block; the last along an axis may be smaller.
    """

    image: Cell
    block: Cell

    @cached_property
    def grids(self) -> tuple[Cell, ...]:
        """Number of nodes along each axis, by level; the last is one node, and there are two levels at least."""
        grids = [_divide(self.image, self.block)]
        while len(grids) == 1 or math.prod(grids[-1]) > 1:
            grids.append(_divide(grids[-1], _group(grids[-1])))
        return tuple(grids)

    @property
    def top(self) -> int:
        """Level of the root."""
        return len(self.grids) - 1

    def n_nodes(self, level: int) -> int:
        """Number of nodes of a level."""
        return math.prod(self.grids[level])

    @property
    def n_merges(self) -> int:
        """Number of nodes above the blocks."""
        return sum(self.n_nodes(level) for level in range(1, self.top + 1))

    def cell(self, level: int, node: int) -> Cell:
        """Place of a node on the grid of its level; nodes are numbered in C order."""
        _, ny, nx = self.grids[level]
        return node // (ny * nx), node // nx % ny, node % nx

    def node(self, level: int, cell: Sequence[int]) -> int | None:
        """The node at a place, None outside of the grid."""
        nz, ny, nx = self.grids[level]
        z, y, x = cell
        return (z * ny + y) * nx + x if 0 <= z < nz and 0 <= y < ny and 0 <= x < nx else None

    def children(self, level: int, node: int) -> list[int]:
        """The nodes of the level below that a node covers, in C order."""
        size = _group(self.grids[level - 1])
        spans = [
            range(i * n, min((i + 1) * n, end))
            for i, n, end in zip(self.cell(level, node), size, self.grids[level - 1], strict=True)
        ]
        _, ny, nx = self.grids[level - 1]
        return [(z * ny + y) * nx + x for z, y, x in itertools.product(*spans)]

    def parent(self, level: int, node: int) -> int:
        """The node of the level above that covers a node."""
        size = _group(self.grids[level])
        found = self.node(level + 1, [i // n for i, n in zip(self.cell(level, node), size, strict=True)])
        assert found is not None
        return found

    def neighbours(self, block: int, ways: Sequence[Cell]) -> Iterator[tuple[int, int, int]]:
        """Blocks around a block: (number of the way, +1 forwards or -1 backwards, block)."""
        here = self.cell(0, block)
        for number, way in enumerate(ways):
            for sign in (1, -1):
                there = self.node(0, [i + sign * step for i, step in zip(here, way, strict=True)])
                if there is not None:
                    yield number, sign, there

    def planes(self, level: int, node: int) -> tuple[int, int]:
        """First plane of a node, and the first one beyond it."""
        first = last = node
        for below in range(level, 0, -1):
            first, last = self.children(below, first)[0], self.children(below, last)[-1]
        return self.start(first)[0], self.stop(last)[0]

    def start(self, block: int) -> Cell:
        """First voxel of a block."""
        z, y, x = (i * n for i, n in zip(self.cell(0, block), self.block, strict=True))
        return z, y, x

    def stop(self, block: int) -> Cell:
        """First voxel beyond a block along each axis."""
        z, y, x = (min(a + n, end) for a, n, end in zip(self.start(block), self.block, self.image, strict=True))
        return z, y, x


def _divide(shape: Sequence[int], size: Sequence[int]) -> Cell:
    z, y, x = (-(-n // k) for n, k in zip(shape, size, strict=True))
    return z, y, x


def _group(grid: Cell) -> Cell:
    """Shape of a group of at most `GROUP` nodes of a grid, as near to a cube as it goes."""
    size = [1, 1, 1]
    while True:
        larger = [
            [min(2 * n, end) if i == axis else n for i, (n, end) in enumerate(zip(size, grid, strict=True))]
            for axis in sorted((2, 1, 0), key=lambda axis: (size[axis], -axis))
            if size[axis] < grid[axis]
        ]
        fitting = next((shape for shape in larger if math.prod(shape) <= GROUP), None)
        if fitting is None:
            return size[0], size[1], size[2]
        size = fitting
