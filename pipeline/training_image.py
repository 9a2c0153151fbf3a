"""The image that annotations were drawn on: a volume in a file or an array, read box by box either way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.axes import ORDER
from pipeline.blocks import AXES, Box
from pipeline.errors import PlanError
from pipeline.ilp_writer import NOT_STORED, TrainingImage
from pipeline.volume import Volume, volume_of

if TYPE_CHECKING:
    import xarray


class Image(Protocol):
    """What training needs to know of an image."""

    @property
    def dims(self) -> str: ...
    @property
    def whole(self) -> Box: ...
    @property
    def n_channels(self) -> int: ...
    @property
    def depth(self) -> int: ...
    def read(self, box: Box) -> npt.NDArray[Any]: ...
    def describe(self) -> TrainingImage: ...


@dataclass(frozen=True, eq=False)
class VolumeImage:
    """An image in a file."""

    volume: Volume

    @property
    def dims(self) -> str:
        """Its axes in canonical order."""
        return self.volume.dims

    @property
    def whole(self) -> Box:
        """All of it, over (t, z, y, x)."""
        return self.volume.whole

    @property
    def n_channels(self) -> int:
        """Its channels."""
        return self.volume.n_channels

    @property
    def depth(self) -> int:
        """Its planes."""
        return self.whole.shape[1]

    def read(self, box: Box) -> npt.NDArray[Any]:
        """The voxels of a box, (t, c, z, y, x)."""
        return self.volume.read(box)

    def describe(self) -> TrainingImage:
        """What a project says of it, with the file's own axes."""
        return TrainingImage(self.volume.url, self.volume.source_axes, self.volume.source.shape)


@dataclass(frozen=True, eq=False)
class ArrayImage:
    """A labelled array, in memory or lazy."""

    array: xarray.DataArray

    @property
    def dims(self) -> str:
        """Its axes in canonical order."""
        return "".join(axis for axis in ORDER if axis in self.array.dims)

    @property
    def whole(self) -> Box:
        """All of it, over (t, z, y, x)."""
        return Box.whole([self.array.sizes.get(axis, 1) for axis in AXES])

    @property
    def n_channels(self) -> int:
        """Its channels."""
        return int(self.array.sizes.get("c", 1))

    @property
    def depth(self) -> int:
        """Its planes."""
        return self.whole.shape[1]

    def read(self, box: Box) -> npt.NDArray[Any]:
        """The voxels of a box, (t, c, z, y, x)."""
        spans = dict(zip(AXES, box.slices(), strict=True))
        part = self.array.isel({axis: span for axis, span in spans.items() if axis in self.array.dims})
        full = part.expand_dims([axis for axis in ORDER if axis not in part.dims]).transpose(*ORDER)
        return np.ascontiguousarray(full.to_numpy())

    def describe(self) -> TrainingImage:
        """What a project says of it: channels last, as ilastik has them."""
        axes = self.dims.replace("c", "") + ("c" if "c" in self.dims else "")
        return TrainingImage(NOT_STORED, axes, tuple(int(self.array.sizes[axis]) for axis in axes))


def as_image(raw: xarray.DataArray | Volume) -> Image:
    """The image behind what a caller gave.

    Raises
    ------
    PlanError
        With the code ``axes`` or ``dtype``, if it is none.
    """
    if isinstance(raw, Volume):
        return VolumeImage(raw)
    names = [str(dim) for dim in raw.dims]
    if not {"y", "x"} <= set(names) <= set(ORDER):
        raise PlanError(f"dims {', '.join(names)}; y and x are needed, t, c and z allowed: rename them", code="axes")
    if raw.dtype.kind not in "buif":
        raise PlanError(f"dtype {raw.dtype}; allowed are integers, floats and bool", code="dtype")
    volume = volume_of(raw)
    return ArrayImage(raw) if volume is None else VolumeImage(volume)


def path_beside(image: str, project: str | os.PathLike[str]) -> str:
    """How a project names its image: relative if it lies in the project's folder or below, so that both can move."""
    if image == NOT_STORED or "://" in image:
        return image
    folder, absolute = Path(project).resolve().parent, Path(os.path.abspath(image))
    return str(absolute.relative_to(folder)) if absolute.is_relative_to(folder) else str(absolute)
