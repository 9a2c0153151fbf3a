"""Layers: what of a volume can be looked at, as frozen descriptions; no voxel is read here.

The digest of a layer names data, project and settings: equal digests mean equal bytes, of every level, for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.blocks import AXES, Box, Index
from pipeline.errors import RegionError, UnknownError
from pipeline.images import Reduction
from pipeline.project import Color, Project
from pipeline.pyramid import Level
from pipeline.volume import Volume

if TYPE_CHECKING:
    from pipeline.serving.label_layers import FoundLabels
    from pipeline.serving.recipe import Recipe

LAYERS = ("raw", "probabilities", "segmentation", "uncertainty", "labels")
PREDICTED = ("probabilities", "segmentation", "uncertainty")


@dataclass(frozen=True)
class ServedVolume:
    """A volume under the name that requests know it by.

    Parameters
    ----------
    name : str
    volume : Volume
    projects : tuple of str
        Names of the projects that are offered on it, the first is taken where a request names none.
    coarser : tuple of Volume
        The file's own coarser levels, if it has any.
    labels : tuple of FoundLabels
        Objects in it that runs have written.
    folders : tuple of str
        Where more of these may lie, now or later.
    """

    name: str
    volume: Volume
    projects: tuple[str, ...] = ()
    coarser: tuple[Volume, ...] = ()
    labels: tuple[FoundLabels, ...] = ()
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerLevel:
    """One level of a layer; values in the order of the layer's dims.

    Parameters
    ----------
    index : int
        0 for full resolution.
    shape, chunk : tuple of int
        Voxels of the level, and of a chunk of its grid; all channels are in one chunk.
    factors : tuple of int
        Level-0 voxels to a voxel along each dim.
    exact : bool
        Whether it is the block mean (or stride) of exact level 0; otherwise it was predicted from coarse raw data, or
        comes from the file's own pyramid.
    last : tuple of float
        Part of the last voxel along each dim that lies inside the image.
    """

    index: int
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    factors: tuple[int, ...]
    exact: bool
    last: tuple[float, ...]

    @classmethod
    def of(cls, index: int, level: Level, exact: bool) -> LayerLevel:
        """The level of a layer that has this geometry."""
        return cls(index, level.shape, level.chunks, level.factors, exact, level.last)

    @property
    def geometry(self) -> Level:
        """The same for `pipeline.pyramid`."""
        return Level(self.shape, self.chunk, self.factors, self.last)


@dataclass(frozen=True, eq=False, repr=False)
class Layer:
    """One thing to look at, on all its levels; made by the catalogue.

    Parameters
    ----------
    name : str
        One of `LAYERS`.
    volume : ServedVolume
    project : Project or None
        None for raw data.
    project_name : str or None
        What requests call it.
    digest : str
        32 hexadecimal digits.
    dims : str
        Axes in the order ``tczyx``; those of the volume, with c where there are channels or classes.
    dtype : dtype
        Of all levels.
    spacing, units : mapping by axis letter
        Of level 0; an axis is missing where it is unknown.
    channel_names : tuple of str
        Names along c; without c, the names of the values 1, 2, ...
    channel_colors : tuple of (red, green, blue)
        To go with the names; empty where the layer has no colours of its own.
    value_range : (low, high) or None
        Smallest and largest value there can be, where that says something.
    levels : tuple of LayerLevel
    reduce : {"mean", "stride"}
        How an exact coarse level comes from the one before it.
    recipe : Recipe
        How a box of it is computed; travels to the workers.
    parent : Layer or None
        The layer of the same levels that this one is derived from, voxel by voxel.
    """

    name: str
    volume: ServedVolume
    project: Project | None
    project_name: str | None
    digest: str
    dims: str
    dtype: np.dtype[Any]
    spacing: Mapping[str, float]
    units: Mapping[str, str]
    channel_names: tuple[str, ...]
    channel_colors: tuple[Color, ...]
    value_range: tuple[float, float] | None
    levels: tuple[LayerLevel, ...]
    reduce: Reduction
    recipe: Recipe
    parent: Layer | None = None

    def __repr__(self) -> str:
        sizes = " ".join(f"{axis}={n}" for axis, n in zip(self.dims, self.levels[0].shape, strict=True))
        return (
            f"<Layer {self.name} of {self.volume.name} {sizes} {self.dtype}, {len(self.levels)} levels, {self.digest}>"
        )

    @property
    def n_channels(self) -> int:
        """Length along c, 1 without that axis."""
        return self.levels[0].shape[self.dims.index("c")] if "c" in self.dims else 1

    @property
    def voxel_bytes(self) -> int:
        """Bytes of all channels of a voxel."""
        return self.n_channels * self.dtype.itemsize

    def level(self, index: int) -> LayerLevel:
        """A level by its number.

        Raises
        ------
        UnknownError
            If there is none of this number.
        """
        if not 0 <= index < len(self.levels):
            raise UnknownError(f"level {index}: {self.name} of {self.volume.name} has 0 to {len(self.levels) - 1}")
        return self.levels[index]

    def whole(self, level: int) -> Box:
        """All of a level, over (t, z, y, x)."""
        return Box.whole(self.spatial(self.level(level).shape))

    def chunk(self, level: int) -> Index:
        """A chunk of a level, over (t, z, y, x)."""
        return self.spatial(self.level(level).chunk)

    def spatial(self, values: tuple[int, ...], missing: int = 1) -> Index:
        """Values in the order of dims, over (t, z, y, x)."""
        by_axis = dict(zip(self.dims, values, strict=True))
        t, z, y, x = (by_axis.get(axis, missing) for axis in AXES)
        return t, z, y, x

    def along(self, values: Index, channel: int) -> tuple[int, ...]:
        """Values over (t, z, y, x) and one for c, in the order of dims."""
        by_axis = {**dict(zip(AXES, values, strict=True)), "c": channel}
        return tuple(by_axis[axis] for axis in self.dims)

    def n_bytes(self, box: Box) -> int:
        """Bytes of a box with all channels."""
        return box.size * self.voxel_bytes

    def check_region(self, level: int, start: tuple[int, ...], stop: tuple[int, ...]) -> None:
        """Refuse a region that is empty or reaches out of a level.

        Raises
        ------
        RegionError
            Naming the region and the level's shape.
        """
        shape = self.level(level).shape
        good = len(start) == len(stop) == len(shape) and all(
            0 <= a < b <= n for a, b, n in zip(start, stop, shape, strict=True)
        )
        if not good:
            sizes = ", ".join(f"{axis}={n}" for axis, n in zip(self.dims, shape, strict=True))
            raise RegionError(
                f"{list(start)} to {list(stop)} is empty or reaches out of level {level} of {self.name}: {sizes}",
                code="region",
            )
