"""How boxes of a layer are computed: what travels to the workers, and the functions that run there.

Whatever is computed is an array over the layer's dims that nobody may write to: in one process, the cache, the worker
and every reader hold the very same memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.axes import ORDER, reorder
from pipeline.blocks import Box
from pipeline.images import Reduction
from pipeline.prediction import Task, derive, predict_block
from pipeline.pyramid import shrink
from pipeline.results import Result
from pipeline.volume import Volume

Array = npt.NDArray[Any]


class Recipe(Protocol):
    """Computes a box of a level; picklable. `makes_levels` says whether of all levels, be they means of finer ones."""

    @property
    def makes_levels(self) -> bool: ...

    def compute(self, level: int, box: Box) -> Array: ...


@dataclass(frozen=True, eq=False)
class RawRecipe:
    """Raw data, and means of it.

    Parameters
    ----------
    volumes : tuple of Volume
        One for each level.
    dims : str
    dtype : str
    """

    volumes: tuple[Volume, ...]
    dims: str
    dtype: str
    makes_levels = True

    def compute(self, level: int, box: Box) -> Array:
        """Read it."""
        return reorder(self.volumes[level].read(box), ORDER, self.dims).astype(self.dtype, copy=False)


@dataclass(frozen=True, eq=False)
class ProbabilityRecipe:
    """Class probabilities, of full resolution or predicted from coarse raw data.

    Parameters
    ----------
    tasks : mapping of int to Task
        By level; levels that are means of finer ones have none.
    dims : str
    """

    tasks: Mapping[int, Task]
    dims: str
    makes_levels = False

    def compute(self, level: int, box: Box) -> Array:
        """Predict it."""
        return reorder(predict_block(self.tasks[level], box)["probabilities"], ORDER, self.dims)


@dataclass(frozen=True, eq=False)
class DerivedRecipe:
    """What follows from the probabilities of a voxel.

    Parameters
    ----------
    result : Result
    source_dims : str
        Dims of the probabilities.
    """

    result: Result
    source_dims: str
    makes_levels = False

    def compute(self, level: int, box: Box) -> Array:
        """Never asked for: there is nothing to compute without probabilities."""
        raise TypeError(f"{self.result.name} is derived from probabilities, not computed")

    def derive(self, probabilities: Array) -> Array:
        """The result of the same box, over the dims of the probabilities without c."""
        at = self.source_dims.index("c")
        return derive(self.result, np.moveaxis(probabilities, at, 0))


def compute_box(recipe: Recipe, level: int, box: Box) -> Array:
    """Task: a box from files."""
    return _frozen(recipe.compute(level, box))


def derive_box(recipe: DerivedRecipe, probabilities: Array) -> Array:
    """Task: a box from the probabilities of the same box."""
    return _frozen(recipe.derive(probabilities))


@dataclass(frozen=True)
class Halving:
    """How a box of a level is made from boxes of the level before.

    Parameters
    ----------
    dims : str
    reduce : {"mean", "stride"}
    start, stop : tuple of int
        The box of the level before, in the order of dims, that covers what is wanted.
    places : tuple of tuple of int
        First voxel of each of the boxes that cover it.
    weights : tuple of float
        Of the last voxel along each dim.
    """

    dims: str
    reduce: Reduction
    start: tuple[int, ...]
    stop: tuple[int, ...]
    places: tuple[tuple[int, ...], ...]
    weights: tuple[float, ...]


def halve_boxes(halving: Halving, pieces: Sequence[Array]) -> Array:
    """Task: a box of a level from those of the level before that cover it."""
    source = assemble(halving.start, halving.stop, halving.places, pieces)
    return _frozen(shrink(source, halving.dims, halving.weights, halving.reduce))


def assemble(
    start: Sequence[int], stop: Sequence[int], places: Sequence[Sequence[int]], pieces: Sequence[Array]
) -> Array:
    """A region from pieces that cover it.

    Parameters
    ----------
    start, stop : sequence of int
        The region.
    places : sequence of sequence of int
        First voxel of each piece.
    pieces : sequence of ndarray
        May reach out of the region.

    Returns
    -------
    ndarray
        The very piece, not to be written to, where one is the region; a view of it, where it holds the region.
    """
    if len(pieces) == 1:
        inside = tuple(slice(a - o, b - o) for a, b, o in zip(start, stop, places[0], strict=True))
        return pieces[0][inside]
    region = np.empty([b - a for a, b in zip(start, stop, strict=True)], pieces[0].dtype)
    for corner, piece in zip(places, pieces, strict=True):
        place(region, start, stop, corner, piece)
    return _frozen(region)


def place(region: Array, start: Sequence[int], stop: Sequence[int], corner: Sequence[int], piece: Array) -> None:
    """Copy what of a piece lies in ``start .. stop`` into `region`; the piece's first voxel lies at `corner`."""
    ends = [o + n for o, n in zip(corner, piece.shape, strict=True)]
    low = [max(a, o) for a, o in zip(start, corner, strict=True)]
    high = [min(b, e) for b, e in zip(stop, ends, strict=True)]
    target = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
    region[target] = piece[tuple(slice(a - o, b - o) for a, b, o in zip(low, high, corner, strict=True))]


def keep(value: Any) -> Any:
    """Task: a value that many tasks share; made again where the worker that holds it dies."""
    return value


def _frozen(array: Array) -> Array:
    whole = np.ascontiguousarray(array)
    whole.flags.writeable = False
    return whole
