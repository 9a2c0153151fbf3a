"""In which pieces a region is computed: in chunks of the grid, or as it was asked for, whichever costs less.

A plane of a volume lies in chunks of 64 planes, and computing these for its sake would cost many times the plane. But
chunks are shared by whoever looks at the neighbourhood. The rule:

1. A region of whole chunks is made of these chunks.
2. So is a region whose chunks are all there, or being made.
3. Otherwise both ways are priced, what is there already costing nothing, and the cheaper one is taken; chunks, where
   they cost the same. A region as asked for is cut, from its own corner, into pieces of at most as many voxels as a
   chunk may have; into smaller ones, which threads share, where that makes it little dearer, as it does planes.

The price of a box that is predicted is its voxels, through the forest, and a share of the voxels of the box with its
halo, through the filters. That of raw data is the voxels of the file's chunks that hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.blocks import Box, Index, grid
from pipeline.config import settings
from pipeline.plan import choose_chunk
from pipeline.serving.layer import Layer
from pipeline.serving.piece import Piece, grid_pieces, hull
from pipeline.serving.recipe import ProbabilityRecipe, RawRecipe

# What a voxel of the box with its halo costs beside one of the box, in volumes and in planes. Measured by fitting both
# to the time of boxes of many shapes (`python -m benchmarks.bench_shape`): 0.02 to 0.12 with six projects in 3-D, where
# most of the filters' work is done for the box alone, and 0.6 to 1.9 in 2-D (more with a forest that costs nothing).
FILTER_SHARE, FILTER_SHARE_2D = 0.06, 1.0
# A plane of 512 x 512 in four pieces costs a tenth more by these prices, a cube of 64 voxels in eight, a third.
FINER, DEARER = 4, 1.2
Held = Callable[[Piece], bool]


def cover(layer: Layer, level: int, box: Box, held: Held) -> Sequence[Piece]:
    """Pieces that cover a region; see the rule above.

    Parameters
    ----------
    layer : Layer
    level : int
    box : Box
        Not empty, inside the level.
    held : callable
        Whether a piece is there, or being made.
    """
    chunks = grid_pieces(layer, level, box)
    if hull(box, layer.chunk(level), layer.whole(level)) == box:
        return chunks
    missing = [chunk for chunk in chunks if not held(chunk)]
    if not missing:
        return chunks
    exact = cut(layer, level, box)
    most = sum(price(chunk, held) for chunk in missing)
    return exact if _cheaper(exact, most, held) else chunks


def cut(layer: Layer, level: int, box: Box) -> list[Piece]:
    """The region itself, in pieces of at most as many voxels as a chunk may have, or finer; see the rule above."""
    most = settings().chunk_voxels
    pieces, finer = (
        [Piece(layer, level, part) for part in grid(box, choose_chunk(box.shape, voxels))]
        for voxels in (most, max(most // FINER, 1))
    )
    if not isinstance(layer.recipe, ProbabilityRecipe) or level not in layer.recipe.tasks:
        return pieces  # quick to make of others, or read from a file by the chunk
    return finer if sum(map(own_price, finer)) <= DEARER * sum(map(own_price, pieces)) else pieces


def price(piece: Piece, held: Held) -> float:
    """What making a piece would cost, in voxels through the forest; 0 if it is held."""
    if held(piece):
        return 0.0
    children = piece.children(lambda layer, level, box: cover(layer, level, box, held))
    return sum(price(child, held) for child in children) if children else own_price(piece)


def own_price(piece: Piece) -> float:
    """The price of a piece that is made from files."""
    recipe, box = piece.layer.recipe, piece.box
    if isinstance(recipe, ProbabilityRecipe):
        task = recipe.tasks[piece.level]
        share = FILTER_SHARE if task.halo_zyx[0] else FILTER_SHARE_2D
        return box.size + share * box.grow(task.halo_zyx, task.image).size
    if isinstance(recipe, RawRecipe):
        volume = recipe.volumes[piece.level]
        by_axis = dict(zip(volume.dims, volume.chunks, strict=True))
        chunk: Index = tuple(by_axis.get(axis, 1) for axis in "tzyx")  # type: ignore[assignment]
        return float(hull(box, chunk, volume.whole).size)
    return float(box.size)


def _cheaper(pieces: Sequence[Piece], most: float, held: Held) -> bool:
    total = 0.0
    for piece in pieces:
        total += price(piece, held)
        if total >= most:
            return False
    return True
