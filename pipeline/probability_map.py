"""Where the probabilities of a segmentation come from: a project applied to a volume, or a map that exists already.

Behind this module both are the same: an image of a region, with channels, of a type that is stored and a range of
values that stands for 0 to 1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import plan as planning
from pipeline import prediction
from pipeline.blocks import AXES, Box, Index
from pipeline.config import settings
from pipeline.errors import PlanError
from pipeline.plan import choose_chunk
from pipeline.project import Color, Project
from pipeline.volume import Volume

Array = npt.NDArray[Any]
KEPT_TYPES = ("float32", "uint8", "uint16")  # stored as they are; all others as float32, 0..1


@dataclass(frozen=True, eq=False)
class ProbabilityMap:
    """Probabilities of a region; picklable, read by tasks.

    Parameters
    ----------
    volume : Volume
        What is read: raw data with a `task`, else the map itself.
    region : Box
        Of the volume; the map begins at its first voxel.
    dims, source_axes : str
        Of the data without c, in canonical order and in that of the file.
    spacing, units : mapping by axis letter
    channel_names, channel_colors : tuple
        Empty where there are none.
    n_channels : int
    dtype : str
        One of `KEPT_TYPES`: what `read` returns.
    value_range : tuple of float
        What stands for 0 and 1.
    digest : str
        Of all that decides values.
    provenance : mapping
        The same in words, JSON values.
    chunk : tuple of int, (t, z, y, x)
        Of what is stored.
    block : tuple of int, optional
        What one task predicts; None for a map that exists.
    task : prediction.Task, optional
    held : tuple of int, optional
        Channels that the volume holds, where it does not hold all.
    """

    volume: Volume
    region: Box
    dims: str
    source_axes: str
    spacing: Mapping[str, float]
    units: Mapping[str, str]
    channel_names: tuple[str, ...]
    channel_colors: tuple[Color, ...]
    n_channels: int
    dtype: str
    value_range: tuple[float, float]
    digest: str
    provenance: Mapping[str, Any]
    chunk: Index
    block: Index | None = None
    task: prediction.Task | None = field(default=None, repr=False)
    held: tuple[int, ...] | None = None

    @property
    def image(self) -> Box:
        """The region as an image of its own, which begins at 0."""
        return Box.whole(self.region.shape)

    @property
    def origin(self) -> dict[str, float]:
        """Place of the first voxel in the volume, by axis."""
        return dict(zip(AXES, map(float, self.region.start), strict=True))

    def read(self, box: Box, channels: Sequence[int]) -> Array:
        """Values of a box of `image` in these channels, (t, c, z, y, x), of `dtype`.

        Raises
        ------
        ReadError
            If data is damaged.
        """
        there = box.shift(self.region.start)
        if self.task is not None:
            return prediction.predict_block(self.task, there)["probabilities"][:, list(channels)]
        places = list(channels) if self.held is None else [self.held.index(channel) for channel in channels]
        values = self.volume.read(there)[:, places]
        return values if str(values.dtype) == self.dtype else normalise(values, natural_range(self.volume))


def predicted_map(
    project: Project, volume: Volume, *, region: Box | None = None, stage: int | None = None, dtype: str = "float32"
) -> ProbabilityMap:
    """The probabilities that a project gives for a volume, block by block when they are read.

    Raises
    ------
    PlanError
        If project, volume and request do not fit each other.
    """
    plan = planning.make(
        volume.whole,
        volume.n_channels,
        str(volume.dtype),
        volume.dims,
        project,
        stored_type=dtype,
        stage=stage,
        region=region,
    )
    last, task = project.stages[len(plan.stacks) - 1], prediction.make_task(volume, project, plan)
    return ProbabilityMap(
        volume=volume,
        region=plan.region,
        dims=volume.dims.replace("c", ""),
        source_axes=volume.source_axes.replace("c", ""),
        spacing=volume.spacing,
        units=volume.units,
        channel_names=last.class_names,
        channel_colors=last.class_colors,
        n_channels=len(last.class_names),
        dtype=dtype,
        value_range=planning.value_range(plan.results[0]) or (0.0, 1.0),
        digest=task.digest,
        provenance=prediction.describe_origin(volume, project, plan),
        chunk=plan.chunk,
        block=plan.block,
        task=task,
    )


def given_map(volume: Volume, *, region: Box | None = None) -> ProbabilityMap:
    """A map that exists: of ours, ilastik's or anyone's.

    Raises
    ------
    PlanError
        With the code ``region``, if the region is empty or not inside the volume.
    """
    region = region or volume.whole
    if not volume.whole.contains(region) or region.size == 0:
        raise PlanError(f"the region {region} is empty or not inside the map {volume.whole}", code="region")
    kept = str(volume.dtype) in KEPT_TYPES
    value_range = natural_range(volume) if kept else (0.0, 1.0)
    said = json.dumps([volume.digest, str(region), natural_range(volume)])
    return ProbabilityMap(
        volume=volume,
        region=region,
        dims=volume.dims.replace("c", ""),
        source_axes=volume.source_axes.replace("c", ""),
        spacing=volume.spacing,
        units=volume.units,
        channel_names=volume.channel_names,
        channel_colors=(),
        n_channels=volume.n_channels,
        dtype=str(volume.dtype) if kept else "float32",
        value_range=value_range,
        digest=hashlib.sha256(said.encode()).hexdigest(),
        provenance={
            "probabilities": volume.url,
            "probabilities_digest": volume.digest,
            "axes": volume.source_axes,
            "region": str(region),
        },
        chunk=choose_chunk(region.shape, settings().chunk_voxels),
    )


def natural_range(volume: Volume) -> tuple[float, float]:
    """What stands for probability 0 and 1: what the file says, else 0 and the largest integer of the type, or 0 and 1.

    Notes
    -----
    Source: SEMANTICS section 10; ilastik writes `drange` into each HDF5 file that it exports.
    """
    if volume.value_range is not None:
        return volume.value_range
    return (0.0, float(np.iinfo(volume.dtype).max)) if volume.dtype.kind in "iu" else (0.0, 1.0)


def normalise(values: Array, value_range: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Values as probabilities 0..1."""
    exact = values.astype(np.float32)
    if value_range == (0.0, 1.0):
        return exact
    low, high = np.float32(value_range[0]), np.float32(value_range[1])
    return (exact - low) / (high - low)
