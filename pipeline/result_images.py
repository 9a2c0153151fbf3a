"""How the results of a run are laid out as images of an output, and where in them the values of a block lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from pipeline.blocks import AXES, Box, Index, grid_shape
from pipeline.config import settings
from pipeline.images import ImageSpec
from pipeline.metadata import OmeVersion
from pipeline.plan import Plan, value_range
from pipeline.project import Stage
from pipeline.results import Result
from pipeline.store import Store
from pipeline.volume import Volume

Place = tuple[int, ...]


def specify(plan: Plan, volume: Volume, stage: Stage, version: OmeVersion = "0.5") -> tuple[ImageSpec, ...]:
    """One image for each result of a plan.

    Parameters
    ----------
    plan : Plan
    volume : Volume
        Gives axes, spacing and units.
    stage : Stage
        The one whose results are stored; gives names and colours of the classes.
    version : {"0.5", "0.4"}
        OME-Zarr version; 0.4 knows no shards.
    """
    chunks = math.prod(grid_shape(plan.region, plan.chunk))
    sharded = version == "0.5" and chunks > settings().shard_above
    return tuple(_image(result, plan, volume, stage, sharded) for result in plan.results)


def final_axes(volume: Volume) -> str:
    """Axes of a single file: those of the input in its order, then the channels, of length 1 where there are none.

    Notes
    -----
    Source: SEMANTICS section 10.
    """
    return volume.source_axes.replace("c", "") + "c"


def place(spec: ImageSpec, values: npt.NDArray[Any], block: Box, region: Box) -> tuple[Place, npt.NDArray[Any]]:
    """Where in its image a block's result begins, and the result over the image's axes.

    Parameters
    ----------
    spec : ImageSpec
    values : ndarray, (t, c, z, y, x) for images with channels, else (t, z, y, x)
    block, region : Box
        What was computed, and the part of the volume that the image holds.
    """
    start, _ = corners(spec, block, region)
    order = "tczyx" if "c" in spec.dims else AXES
    return start, values[tuple(slice(None) if axis in spec.dims else 0 for axis in order)]


def is_written(store: Store, block: Box, region: Box) -> bool:
    """Whether a block is in all images of the output already."""
    return all(store.is_written(spec.name, *corners(spec, block, region)) for spec in store.images)


def corners(spec: ImageSpec, block: Box, region: Box) -> tuple[Place, Place]:
    """First and one past the last voxel of a block in its image, with all channels."""
    here = block.shift([-n for n in region.start])
    return _along(spec.dims, here.start, 0), _along(spec.dims, here.stop, _length(spec, "c"))


def _image(result: Result, plan: Plan, volume: Volume, stage: Stage, sharded: bool) -> ImageSpec:
    spatial = volume.dims.replace("c", "")
    dims = "".join(axis for axis in "tczyx" if axis in spatial or (axis == "c" and result.channels))
    by_class = result.name in ("probabilities", "segmentation")
    return ImageSpec(
        name=result.name,
        dims=dims,
        shape=_along(dims, plan.region.shape, len(result.channels)),
        chunks=_along(dims, plan.chunk, len(result.channels)),
        dtype=result.dtype,
        spacing=volume.spacing,
        units=volume.units,
        channel_names=stage.class_names if by_class else result.channels,
        channel_colors=stage.class_colors if by_class else (),
        reduce="stride" if result.name == "segmentation" else "mean",
        value_range=value_range(result),
        origin=dict(zip(AXES, map(float, plan.region.start), strict=True)),
        shards=_along(dims, _shard(plan), len(result.channels)) if sharded else None,
    )


def _shard(plan: Plan) -> Index:
    """What a block writes, in whole chunks: a task writes a file, and nobody else writes it."""
    t, z, y, x = (-(-n // c) * c for n, c in zip(plan.block, plan.chunk, strict=True))
    return t, z, y, x


def _along(dims: str, numbers: Index | Sequence[int], channel: int) -> Place:
    """Numbers over (t, z, y, x) and one for c, in the order of `dims`."""
    by_axis = dict(zip(AXES, numbers, strict=True), c=channel)
    return tuple(by_axis[axis] for axis in dims)


def _length(spec: ImageSpec, axis: str) -> int:
    return spec.shape[spec.dims.index(axis)] if axis in spec.dims else 1
