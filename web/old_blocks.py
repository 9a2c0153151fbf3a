"""The blocks that ilastik-backend counts by: (1, edge, edge, edge or 1, all classes), C order of (t, x, y, z)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipeline.blocks import Box
from web.boxes import OldBox


@dataclass(frozen=True)
class BlockGrid:
    """All blocks of a volume.

    Parameters
    ----------
    shape : mapping of axis letter to int
        Lengths along t, x, y, z and c.
    edge : int
        Voxels of a block along x, y and z; along z 1 where there is one plane.
    """

    shape: Mapping[str, int]
    edge: int

    @property
    def block(self) -> tuple[int, int, int, int, int]:
        """Shape of a block, (t, x, y, z, c), as the old services tell it: with one channel."""
        return 1, self.edge, self.edge, self.edge if self.shape["z"] > 1 else 1, 1

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Blocks along t, x, y, z."""
        t, x, y, z = (-(-self.shape[axis] // n) for axis, n in zip("txyz", self.block, strict=False))
        return t, x, y, z

    def __len__(self) -> int:
        return math.prod(self.counts)

    def box(self, number: int) -> OldBox:
        """The box of a block, cut at the border."""
        place = []
        for count in reversed(self.counts):
            number, here = divmod(number, count)
            place.append(here)
        t, x, y, z = reversed(place)
        _, bx, by, bz, _ = self.block
        start = (t, x * bx, y * by, z * bz, 0)
        ends = (1 + t, (x + 1) * bx, (y + 1) * by, (z + 1) * bz)
        stop = [min(end, self.shape[axis]) for axis, end in zip("txyz", ends, strict=True)]
        return OldBox(start, (stop[0], stop[1], stop[2], stop[3], self.shape["c"]))

    def covered_by(self, boxes: Iterable[Box]) -> Iterator[int]:
        """Numbers of the blocks of which every voxel lies in one of some boxes that do not overlap."""
        inside: dict[int, int] = {}
        for box in boxes:
            for number, voxels in self._shares(box):
                inside[number] = inside.get(number, 0) + voxels
        for number, voxels in inside.items():
            if voxels == math.prod(self.box(number).shape[:4]):
                yield number

    def _shares(self, box: Box) -> Iterator[tuple[int, int]]:
        """The blocks that a box touches, and how many voxels they have in common."""
        ends = [(box.start[i], box.stop[i]) for i in (0, 3, 2, 1)]  # of (t, z, y, x) as t, x, y, z
        ranges = [range(a // n, -(-b // n)) for (a, b), n in zip(ends, self.block, strict=False)]
        for place in itertools.product(*ranges):
            number = 0
            for count, here in zip(self.counts, place, strict=True):
                number = number * count + here
            whole = self.box(number)
            common = [
                min(b, stop) - max(a, start) for (a, b), start, stop in zip(ends, whole.start, whole.stop, strict=False)
            ]
            yield number, math.prod(common)
