"""What lies in boxes around detections: summed scores of every channel, and cubes for the classifier.

A task takes the detections whose centroids lie in one block, and reads each channel once, no further than its boxes
reach. Sums of values are integers and means and deviations of planes are those of whole planes, so results do not
depend on the blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numba_ops import boxes
from numba_ops._jit import freeze
from pipeline.analyses.channel_choice import UNSCALED
from pipeline.analyses.channels import ChannelSet
from pipeline.analyses.intensity import to_bytes
from pipeline.blocks import Box, Index, grid_shape
from pipeline.label_records import Record, write_record

if TYPE_CHECKING:
    from pipeline.analyses.model import CubeModel

MEASURE_HALF = (2, 5, 5)
CUBES_AT_ONCE = 512  # 5 MB of cubes of eight channels
FOLDER_FILES = 1000
EDGE = 0
SUMS, CLASSES = "sums", "classes"

Array = npt.NDArray[Any]
Places = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlaneScale:
    """Mean and deviation of each plane of a channel, (z,)."""

    means: Floats
    deviations: Floats


@dataclass(frozen=True, eq=False)
class BoxWork:
    """What the tasks share; picklable.

    Parameters
    ----------
    channels : ChannelSet
        All of them are measured.
    scales : mapping of str to PlaneScale
    folder : Path
        Of the records.
    inclusive : bool
        Whether boxes are symmetric, ``[c - h, c + h]``, instead of half-open.
    legacy : bool
        Whether scores are put back into the channel's type, truncated and wrapped, and cubes are cut from those.
    model : CubeModel, optional
    cubed : tuple of str
        Channels of the cubes, in the order of the model.
    """

    channels: ChannelSet
    scales: Mapping[str, PlaneScale]
    folder: Path
    inclusive: bool = False
    legacy: bool = False
    model: CubeModel | None = None
    cubed: tuple[str, ...] = ()

    @property
    def box_shape(self) -> tuple[int, int, int]:
        """Voxels of a measured box."""
        z, y, x = (2 * half + self.inclusive for half in MEASURE_HALF)
        return z, y, x

    def path(self, number: int) -> Path:
        """The record of a block."""
        return self.folder / str(number // FOLDER_FILES) / f"{number}.boxes"


@dataclass(frozen=True, eq=False)
class Group:
    """The detections of one block.

    Parameters
    ----------
    number : int
        Of the block.
    members : ndarray, (n,), int64
        Numbers of the detections, from 0, ascending.
    places : ndarray, (n, 3), int64
        Their centroids.
    """

    number: int
    members: npt.NDArray[np.int64]
    places: Places


def is_measurable(places: Places, shape_zyx: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Which detections have their whole box inside, by the original's strict rule: c - h >= 0 and c + h < size.

    Parameters
    ----------
    places : ndarray, (n, 3), int64
    shape_zyx : sequence of int
    """
    half, inside = np.array(MEASURE_HALF), np.ones(len(places), bool)
    return inside & (places >= half).all(axis=1) & (places + half < np.array(shape_zyx)).all(axis=1)


def has_cube(places: Places, shape_zyx: Sequence[int], half_widths: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Which detections have their whole cube inside; the others are at the edge."""
    half, inside = np.array(half_widths), np.ones(len(places), bool)
    return inside & (places >= half).all(axis=1) & (places + half < np.array(shape_zyx)).all(axis=1)


def group_places(places: Places, image: Box, block: Index) -> Iterator[Group]:
    """The detections of each block that has some."""
    if not len(places):
        return
    counts = grid_shape(image, block)[1:]
    number = np.ravel_multi_index(tuple(places.T // np.array(block[1:])[:, None]), counts)
    order = np.argsort(number, kind="stable")
    found, starts = np.unique(number[order], return_index=True)
    for which, members in zip(found, np.split(order, starts[1:]), strict=True):
        yield Group(int(which), members, places[members])


def measure_boxes(work: BoxWork, group: Group) -> None:
    """The task: measure and classify the detections of a block, and write that down."""
    places, shape = group.places, work.channels.shape_zyx
    measured = is_measurable(places, shape)
    cubed = np.zeros(len(places), bool)
    if work.model is not None:
        cubed = has_cube(places, shape, work.model.half_widths)
    sums = np.full((len(places), len(work.channels)), np.nan)
    n_cubes = int(cubed.sum())
    cubes = np.empty((n_cubes, len(work.cubed), *_cube_shape(work)), np.uint8)
    for k, name in enumerate(work.channels):
        wanted = measured | cubed if name in work.cubed else measured
        if not wanted.any():
            continue
        box = _around(places[wanted], work, name in work.cubed and n_cubes > 0)
        values = _scored(work, name, box)
        origin = np.array(box.start[1:])
        sums[measured, k] = _sum(work, name, values, places[measured] - MEASURE_HALF - origin, box)
        for at in (i for i, other in enumerate(work.cubed) if other == name):
            part = values.astype(np.uint8) if work.legacy else to_bytes(values)
            corners = places[cubed] - np.array(work.model.half_widths) - origin  # type: ignore[union-attr]
            cut = np.empty((n_cubes, *_cube_shape(work)), np.uint8)
            boxes.cut_boxes(freeze(part), corners, cut)
            cubes[:, at] = cut
    classes = np.full(len(places), EDGE, np.int64)
    if work.model is not None and n_cubes:
        parts = [work.model.classify(cubes[a : a + CUBES_AT_ONCE]) for a in range(0, n_cubes, CUBES_AT_ONCE)]
        classes[cubed] = np.concatenate(parts)
    write_record(work.path(group.number), {SUMS: sums, CLASSES: classes})


def _cube_shape(work: BoxWork) -> tuple[int, ...]:
    return work.model.cube_shape if work.model is not None else (0, 0, 0)


def _around(places: Places, work: BoxWork, with_cubes: bool) -> Box:
    """What is read for these detections: boxes around them, clipped at the volume, which clips no box that counts."""
    reach = np.array(MEASURE_HALF)
    if with_cubes and work.model is not None:
        reach = np.maximum(reach, work.model.half_widths)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    box = Box((0, *(int(n) for n in low)), (1, *(int(n) for n in high)))  # type: ignore[arg-type]
    return box.grow([int(n) for n in reach], work.channels.whole)


def _scored(work: BoxWork, name: str, box: Box) -> Array:
    """Values of a channel, or with `legacy` what the original had put in their place."""
    values = work.channels.read(name, box)
    if not work.legacy or name == UNSCALED:
        return values
    z = slice(box.start[1], box.stop[1])
    scale, out = work.scales[name], np.empty(values.shape, values.dtype)
    boxes.wrap_scores(freeze(values), freeze(scale.means[z]), freeze(scale.deviations[z]), out)
    return out


def _sum(work: BoxWork, name: str, values: Array, corners: Places, box: Box) -> Floats:
    """What the table holds of a channel: summed scores, or the summed values of a channel that has none."""
    depth, height, width = work.box_shape
    halves = np.empty((len(corners), depth, 2), np.uint64)
    boxes.sum_boxes(freeze(values), np.ascontiguousarray(corners), height, width, halves)
    if name == UNSCALED:
        return halves[..., 0].sum(axis=1).astype(np.float64) + halves[..., 1].sum(axis=1) * 2.0**32
    if work.legacy:  # sums of unsigned integers are of 64 bits, and wrap
        whole = halves.sum(axis=1)
        return (whole[:, 0] + (whole[:, 1] << np.uint64(32))).astype(np.float64)
    sums = halves[..., 0] + halves[..., 1] * 2.0**32
    total = np.zeros(len(corners))
    scale = work.scales[name]
    for k in range(depth):
        z = corners[:, 0] + k + box.start[1]
        mean, deviation = scale.means[z], scale.deviations[z]
        score = sums[:, k] - height * width * mean
        total += np.divide(score, deviation, out=np.zeros(len(corners)), where=deviation > 0)
    return total


def join_boxes(work: BoxWork, groups: Sequence[Group], n: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Sums, (n, channels), and classes, (n,), of all detections from the records of their blocks."""
    sums, classes = np.full((n, len(work.channels)), np.nan), np.full(n, EDGE, np.int64)
    for group in groups:
        record = Record(work.path(group.number))
        sums[group.members], classes[group.members] = record[SUMS], record[CLASSES]
    return sums, classes
