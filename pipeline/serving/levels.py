"""Which levels a layer has, and which of them are exact.

The geometry is that of `pipeline.pyramid`, so that an exact level equals what a run writes, bit by bit. Whether a level
is exact follows from the settings, the shapes and the number of the level alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import pyramid
from pipeline.axes import ORDER, reorder
from pipeline.blocks import AXES, Box
from pipeline.config import Settings
from pipeline.formats.source import fingerprint_of
from pipeline.images import SPATIAL, ImageSpec
from pipeline.plan import CHUNK_BYTES, choose_chunk
from pipeline.serving.layer import LayerLevel
from pipeline.volume import Volume

Array = npt.NDArray[Any]
CELL_VOXELS = 1 << 22  # of full resolution that a mean is taken from at once: 16 MiB of float32


@dataclass(frozen=True, eq=False)
class ReducedSource:
    """Raw data at a coarse level, averaged when it is read; a `pipeline.formats.source.Source`.

    Parameters
    ----------
    volume : Volume
        Full resolution.
    geometry : tuple of Level
        Level 0 up to the level that this is, over the volume's dims.
    """

    volume: Volume
    geometry: tuple[pyramid.Level, ...]
    spacing: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    value_range: tuple[float, float] | None = None
    channel_names: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """As errors name it."""
        return f"{self.volume.url} (level {len(self.geometry) - 1})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of the level."""
        return self.geometry[-1].shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the volume; bool counts as 0 and 1."""
        return counted_dtype(self.volume.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Voxels of the level that a chunk of the file is about."""
        factors = self.geometry[-1].factors
        return tuple(max(c // f, 1) for c, f in zip(self.volume.chunks, factors, strict=True))

    @property
    def axes(self) -> str:
        """Those of the volume, in canonical order."""
        return self.volume.dims

    @property
    def fingerprint(self) -> str:
        """Follows that of the volume."""
        return fingerprint_of("reduced", self.volume.digest, len(self.geometry) - 1)

    def read(self, start: Sequence[int], stop: Sequence[int]) -> Array:
        """Average a box, piece by piece, so that a task never holds much of full resolution."""
        made = np.empty([b - a for a, b in zip(start, stop, strict=True)], self.dtype)
        for low, high in pyramid.chunk_boxes(made.shape, self._cell(made.shape)):
            outer = [[a + n for a, n in zip(start, corner, strict=True)] for corner in (low, high)]
            made[pyramid.slices(low, high)] = self._read_cell(*outer)
        return made

    def _cell(self, shape: Sequence[int]) -> list[int]:
        factors = dict(zip(self.axes, self.geometry[-1].factors, strict=True))
        lengths = dict(zip(self.axes, shape, strict=True))
        room = max(CELL_VOXELS // math.prod(factors.values()), 1)
        cell = dict(zip(AXES, choose_chunk([lengths.get(axis, 1) for axis in AXES], room), strict=True))
        return [cell.get(axis, lengths[axis]) for axis in self.axes]

    def _read_cell(self, start: Sequence[int], stop: Sequence[int]) -> Array:
        spans = [(tuple(start), tuple(stop))]
        for before, after in zip(self.geometry[-2::-1], self.geometry[:0:-1], strict=True):
            spans.append(pyramid.source_box(before, after, *spans[-1]))
        low, high = (dict(zip(self.axes, corner, strict=True)) for corner in spans[-1])
        box = Box(tuple(low.get(a, 0) for a in AXES), tuple(high.get(a, 1) for a in AXES))  # type: ignore[arg-type]
        data = reorder(self.volume.read(box), ORDER, self.axes).astype(self.dtype, copy=False)
        for level, (_, end) in zip(self.geometry, spans[:0:-1], strict=False):
            data = pyramid.shrink(data, self.axes, pyramid.weights_at(level, end), "mean")
        return data.astype(self.dtype, copy=False)


def counted_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Type of raw layers: that of the data, uint8 for bool."""
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype


def raw_levels(
    volume: Volume, coarser: Sequence[Volume], limits: Settings
) -> tuple[tuple[LayerLevel, ...], tuple[Volume, ...]]:
    """The levels of raw data, and a volume to read each from.

    Means of full resolution, while a tile costs at most `coarse_raw_voxels`; above that the file's own levels where
    it has them at the right shape, which are not exact; and no levels beyond.

    Parameters
    ----------
    volume : Volume
    coarser : sequence of Volume
        The file's own coarser levels, if it has any.
    limits : Settings
    """
    geometry = pyramid.levels(_raw_image(volume, limits))
    levels, volumes = [LayerLevel.of(0, geometry[0], exact=True)], [volume]
    for index, level in enumerate(geometry[1:], start=1):
        exact = tile_cost(geometry[0], level, volume.dims) <= limits.coarse_raw_voxels
        if exact:
            found: Volume | None = Volume(ReducedSource(volume, geometry[: index + 1]), volume.dims)
        else:
            found = next((own for own in coarser if _fits(own, volume, level)), None)
        if found is None:
            break
        levels.append(LayerLevel.of(index, level, exact))
        volumes.append(found)
    return tuple(levels), tuple(volumes)


def tile_cost(finest: pyramid.Level, level: pyramid.Level, dims: str) -> int:
    """Voxels of full resolution below one chunk of a level."""
    sizes = zip(dims, finest.shape, level.chunks, level.factors, strict=True)
    return math.prod(min(chunk * factor, n) for axis, n, chunk, factor in sizes if axis in SPATIAL)


def _fits(own: Volume, volume: Volume, level: pyramid.Level) -> bool:
    return (own.dims, own.shape, own.dtype) == (volume.dims, level.shape, volume.dtype)


def _raw_image(volume: Volume, limits: Settings) -> ImageSpec:
    lengths = dict(zip(volume.dims, volume.shape, strict=True))
    room = max(CHUNK_BYTES // (volume.n_channels * volume.dtype.itemsize), 1)
    cell = choose_chunk([lengths.get(axis, 1) for axis in AXES], min(limits.chunk_voxels, room))
    chunk = {**dict(zip(AXES, cell, strict=True)), "c": volume.n_channels}
    chunks = tuple(chunk[axis] for axis in volume.dims)
    return ImageSpec("raw", volume.dims, volume.shape, chunks, "uint8")  # for its geometry alone
