"""Annotations: the few voxels of an image that somebody gave a label, kept as a list of places.

A person draws thousands of voxels on a volume of any size. So annotations are places and labels, read block by block,
and never an image in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.axes import reorder
from pipeline.blocks import AXES, Box, Index, grid
from pipeline.errors import PlanError
from pipeline.forest import MAX_LABEL
from pipeline.progress import Progress
from pipeline.volume import Volume

READ_VOXELS = 1 << 24  # of a label image that are looked at in one go


@dataclass(frozen=True, eq=False)
class Annotations:
    """Labels of single voxels.

    Parameters
    ----------
    shape : tuple of int, (t, z, y, x)
        Of the image.
    places : ndarray, (voxels, 4), int64
        Position (t, z, y, x) of each annotated voxel, each once, in C order.
    labels : ndarray, (voxels,), uint8
        Its label, 1..255.
    """

    shape: Index
    places: npt.NDArray[np.int64]
    labels: npt.NDArray[np.uint8]

    @classmethod
    def of_array(cls, labels: npt.NDArray[Any], dims: str) -> Annotations:
        """Annotations of an array of whole numbers over `dims`, 0 where nobody drew.

        Raises
        ------
        PlanError
            With the code ``labels``, if it holds something else than labels 0..255.
        """
        image = check_labels(reorder(labels, dims, AXES))
        places = np.argwhere(image)
        shape: Index = tuple(image.shape)
        return cls(shape, places, image[tuple(places.T)])

    @classmethod
    def joined(cls, shape: Index, parts: Sequence[tuple[Sequence[int], npt.NDArray[np.uint8]]]) -> Annotations:
        """Annotations of blocks (t, z, y, x) that start at the given positions; of two labels of a voxel the last."""
        found = [(np.argwhere(block) + np.array(start), block[block > 0]) for start, block in parts]
        places = np.concatenate([where for where, _ in found]) if found else np.empty((0, 4), np.int64)
        labels = np.concatenate([values for _, values in found]) if found else np.empty(0, np.uint8)
        flat = np.ravel_multi_index(tuple(places.T), shape) if len(places) else np.empty(0, np.int64)
        order, first = np.unique(flat[::-1], return_index=True)
        kept = len(flat) - 1 - first if len(order) else first
        return cls(shape, places[kept], labels[kept])

    @property
    def found(self) -> tuple[int, ...]:
        """The labels that occur, ascending."""
        return tuple(int(label) for label in np.unique(self.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def cells(self, edge: int) -> Iterator[tuple[Box, npt.NDArray[np.int64]]]:
        """The annotated voxels by cells of the grid of that edge, one time point each.

        Yields
        ------
        box : Box
            The smallest box around the voxels of a cell.
        rows : ndarray, int64
            Their numbers, ascending.
        """
        cell = self.places // np.array([1, edge, edge, edge])
        _, number = np.unique(cell, axis=0, return_inverse=True)
        order = np.argsort(number, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(number[order])) + 1):
            if len(rows):
                here = self.places[rows]
                low, high = here.min(axis=0).tolist(), (here.max(axis=0) + 1).tolist()
                yield Box(tuple(low), tuple(high)), rows

    def blocks(self, edge: int) -> Iterator[tuple[Index, npt.NDArray[np.uint8]]]:
        """First voxel and labels (t, z, y, x) of each of `cells` as an image, 0 where nobody drew."""
        for box, rows in self.cells(edge):
            image = np.zeros(box.shape, np.uint8)
            image[tuple((self.places[rows] - np.array(box.start)).T)] = self.labels[rows]
            yield box.start, image


def read_annotations(volume: Volume, shape: Index, progress: Progress) -> Annotations:
    """Annotations of a label image in a file, block by block.

    Parameters
    ----------
    volume : Volume
        Whole numbers 0..255 of one channel, 0 where nobody drew.
    shape : tuple of int, (t, z, y, x)
        Of the image that they belong to.
    progress : Progress

    Raises
    ------
    PlanError
        With the code ``labels``, if shape or values do not fit; the message names both sides.
    ReadError
        If the data is damaged.
    """
    if volume.n_channels != 1 or volume.whole.shape != tuple(shape):
        channels = (volume.n_channels,) if volume.n_channels > 1 else ()
        raise shape_error(volume.url, (*volume.whole.shape, *channels), shape)
    if volume.dtype.kind not in "bui":
        raise _type_error(volume.url, volume.dtype)
    blocks = list(grid(volume.whole, _reading_block(volume)))
    parts = []
    with progress.stage("labels", blocks=len(blocks), voxels=volume.whole.size) as stage:
        for block in blocks:
            values = check_labels(volume.read(block)[:, 0], volume.url)
            if values.any():
                parts.append((block.start, values))
            stage.advance(block.size)
    return Annotations.joined(shape, parts)


def check_labels(values: npt.NDArray[Any], name: str = "the labels") -> npt.NDArray[np.uint8]:
    """Labels as uint8.

    Raises
    ------
    PlanError
        With the code ``labels``, if they are no whole numbers 0..255.
    """
    if values.dtype.kind not in "bui":
        raise _type_error(name, values.dtype)
    if values.size and (values.min() < 0 or values.max() > MAX_LABEL):
        raise PlanError(
            f"{name}: values {values.min()} to {values.max()}; a label is a whole number from 1 to {MAX_LABEL}, and 0 "
            "where nobody drew",
            code="labels",
        )
    return np.asarray(values, np.uint8)


def shape_error(name: str, given: Sequence[int], wanted: Sequence[int]) -> PlanError:
    """The refusal of labels of another shape than the image's."""
    return PlanError(
        f"{name}: labels of shape {'x'.join(map(str, given))} for an image of {'x'.join(map(str, wanted))} voxels "
        "(t, z, y, x); they must be of one channel and the image's shape",
        code="labels",
    )


def _type_error(name: str, dtype: np.dtype[Any]) -> PlanError:
    return PlanError(f"{name}: labels of type {dtype}; they must be whole numbers from 0 to {MAX_LABEL}", code="labels")


def _reading_block(volume: Volume) -> Index:
    """Whole chunks of the file, as many along the last axes as `READ_VOXELS` allows, so that each is decoded once."""
    chunk = dict(zip(volume.dims, volume.chunks, strict=True))
    block = [min(chunk.get(axis, 1), n) for axis, n in zip(AXES, volume.whole.shape, strict=True)]
    for axis in (3, 2, 1):
        room = READ_VOXELS // int(np.prod(block))
        block[axis] = min(volume.whole.shape[axis], block[axis] * max(room, 1))
    t, z, y, x = block
    return t, z, y, x
