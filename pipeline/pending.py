"""The blocks of a region that are left to do, in an order in which neighbours follow each other."""

from __future__ import annotations

import math
from collections.abc import Callable

from pipeline.blocks import Box, Index, grid, grid_shape, halve


class Pending:
    """A region with its blocks, some of which are done: a whole that is divided into parts, down to single blocks.

    Going through it part by part, each time the first half and then the second, any run of blocks is about as compact
    as it can be. So whatever holds the last chunks that were read, of whatever size, is made good use of, and parts
    that go to different workers have little in common. A byte is kept for each block.

    Parameters
    ----------
    region : Box
    block : tuple of int, (t, z, y, x)
        Shape of a block; those at the end of an axis may be smaller.
    is_done : callable, optional
        Asked for each block, once; by default none is done.
    """

    def __init__(self, region: Box, block: Index, is_done: Callable[[Box], bool] | None = None) -> None:
        self._block = block
        self._counts = grid_shape(region, block)
        self._done = bytearray(math.prod(self._counts))
        self._region = region
        self.voxels = region.size
        """Voxels that are left."""
        if is_done is not None:
            for number, box in enumerate(grid(region, block)):
                if is_done(box):
                    self._done[number] = 1
                    self.voxels -= box.size

    @property
    def whole(self) -> Box | None:
        """All of the region; None if nothing is left."""
        return self._region if self.n_left else None

    @property
    def n_done(self) -> int:
        """Number of blocks that were done before."""
        return sum(self._done)

    @property
    def n_left(self) -> int:
        """Number of blocks that are left."""
        return len(self._done) - self.n_done

    def divide(self, part: Box) -> tuple[Box, ...] | None:
        """What is left of the two halves of a part, the nearer first; None of a single block."""
        halves = halve(part, self._block)
        return halves and tuple(half for half in halves if not self._is_done(half))

    def number(self, block: Box) -> int:
        """The place of a block in C order."""
        number = 0
        for first, start, edge, count in zip(self._region.start, block.start, self._block, self._counts, strict=True):
            number = number * count + (start - first) // edge
        return number

    def _is_done(self, part: Box) -> bool:
        return all(n <= edge for n, edge in zip(part.shape, self._block, strict=True)) and bool(
            self._done[self.number(part)]
        )
