"""Pieces: boxes of layers that are computed and kept whole, and what each is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline import pyramid
from pipeline.blocks import Box, Index, grid
from pipeline.serving.layer import Layer
from pipeline.serving.recipe import Halving, compute_box, derive_box, halve_boxes

Cover = Callable[[Layer, int, Box], "Sequence[Piece]"]


@dataclass(frozen=True, eq=False)
class Piece:
    """A box of a level of a layer, over (t, z, y, x), with all channels; equal and hashed by `key`."""

    layer: Layer
    level: int
    box: Box

    @cached_property
    def key(self) -> str:
        """Name of the Dask task: digest, level and box, so that whoever makes it makes the same bytes."""
        corner = "_".join(f"{a}.{b}" for a, b in zip(self.box.start, self.box.stop, strict=True))
        return f"{self.layer.name}-{self.layer.digest}-{self.level}-{corner}"

    @property
    def n_bytes(self) -> int:
        """Bytes of its values."""
        return self.layer.n_bytes(self.box)

    @property
    def start(self) -> tuple[int, ...]:
        """First voxel, in the order of the layer's dims."""
        return self.layer.along(self.box.start, 0)

    @property
    def is_averaged(self) -> bool:
        """Whether it is made of the level before, rather than on its own."""
        level = self.layer.level(self.level)
        return self.level > 0 and level.exact and not self.layer.recipe.makes_levels

    @property
    def is_chunk(self) -> bool:
        """Whether it is one chunk of the level's grid."""
        sides = zip(self.box.start, self.box.stop, self.layer.chunk(self.level), strict=True)
        ends = self.layer.whole(self.level).stop
        return all(a % n == 0 and b == min(a + n, end) for (a, b, n), end in zip(sides, ends, strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Piece) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    def source(self) -> Box:
        """The box of the level before that an averaged piece is made of."""
        levels = self.layer.levels
        before, after = levels[self.level - 1].geometry, levels[self.level].geometry
        n = self.layer.n_channels
        low, high = pyramid.source_box(
            before, after, self.layer.along(self.box.start, 0), self.layer.along(self.box.stop, n)
        )
        return Box(self.layer.spatial(low, 0), self.layer.spatial(high, 1))

    def children(self, cover: Cover) -> tuple[Piece, ...]:
        """What has to be there before it can be computed; `cover` says in which pieces a region is best made."""
        if self.is_averaged:
            return tuple(cover(self.layer, self.level - 1, self.source()))
        if self.layer.parent is not None:
            return (Piece(self.layer.parent, self.level, self.box),)
        return ()

    def task(self, children: Sequence[Piece]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The function that a worker runs, and its arguments before the children's values."""
        if not self.is_averaged:
            return (derive_box, ()) if self.layer.parent is not None else (compute_box, (self.level, self.box))
        source, before = self.source(), self.layer.levels[self.level - 1].geometry
        start = self.layer.along(source.start, 0)
        stop = self.layer.along(source.stop, self.layer.n_channels)
        weights = pyramid.weights_at(before, stop)
        places = tuple(child.start for child in children)
        return halve_boxes, (Halving(self.layer.dims, self.layer.reduce, start, stop, places, weights),)


def grid_pieces(layer: Layer, level: int, box: Box) -> list[Piece]:
    """The chunks of a level's grid that a box touches, in C order."""
    chunk = layer.chunk(level)
    return [Piece(layer, level, cell) for cell in grid(hull(box, chunk, layer.whole(level)), chunk)]


def hull(box: Box, chunk: Index, whole: Box) -> Box:
    """The smallest box of whole grid cells around a box, clipped at `whole`.

    Examples
    --------
    >>> str(hull(Box((0, 0, 0, 5), (1, 1, 1, 9)), (1, 1, 1, 4), Box.whole((1, 1, 1, 10))))
    't=0:1,z=0:1,y=0:1,x=4:10'
    """
    low = tuple(a // c * c for a, c in zip(box.start, chunk, strict=True))
    high = tuple(min(-(-b // c) * c, n) for b, c, n in zip(box.stop, chunk, whole.stop, strict=True))
    return Box(low, high)  # type: ignore[arg-type]
