"""What the archive says about an experiment: its channels, its extent, its voxels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.boss.address import Range
from pipeline.errors import ArchiveError, UnknownVolumeError
from pipeline.suggestion import did_you_mean

AXES = "zyx"
DTYPES = ("uint8", "uint16", "uint64")
KINDS = ("image", "annotation")
UNITS = ("nanometer", "micrometer", "millimeter", "centimeter")

Index = tuple[int, int, int]


@dataclass(frozen=True)
class BossChannel:
    """A channel of an experiment.

    Parameters
    ----------
    name : str
    dtype : dtype
        uint8, uint16 or uint64.
    kind : {"image", "annotation"}
    """

    name: str
    dtype: np.dtype[Any]
    kind: str = "image"


@dataclass(frozen=True)
class Experiment:
    """An experiment of the archive, as it was when it was asked for.

    Parameters
    ----------
    url : str
        Of the archive.
    collection, name : str
    channels : tuple of BossChannel
        In the order of the archive's list.
    start_zyx, stop_zyx : tuple of int
        The coordinate frame in voxels, start inclusive, stop exclusive.
    spacing : mapping of z, y, x to float
        Distance of two voxels.
    unit : str
        Of `spacing`, as ``nanometer``.
    """

    url: str
    collection: str
    name: str
    channels: tuple[BossChannel, ...]
    start_zyx: Index
    stop_zyx: Index
    spacing: Mapping[str, float]
    unit: str

    def channel(self, name: str) -> BossChannel:
        """The channel of a name.

        Raises
        ------
        UnknownVolumeError
            Listing the channels that there are.
        """
        names = [channel.name for channel in self.channels]
        if name not in names:
            shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
            raise UnknownVolumeError(
                f"{self.collection}/{self.name} has no channel {name!r}; it has {shown or 'none'}"
                f"{did_you_mean(name, names)}",
                code="channel",
            )
        return self.channels[names.index(name)]

    def select(self, names: Sequence[str] | None) -> tuple[BossChannel, ...]:
        """The channels of some names, in their order; all, without names."""
        return self.channels if names is None else tuple(self.channel(name) for name in names)

    def check_range(self, axis: str, given: Range | None) -> Range:
        """Start and stop along z, y or x; those of the coordinate frame, if none are given.

        Raises
        ------
        ArchiveError
            With the code ``range``, if the range is empty or reaches out of the frame; names both.
        """
        at = AXES.index(axis)
        least, most = self.start_zyx[at], self.stop_zyx[at]
        start, stop = given if given is not None else (least, most)
        if not least <= start < stop <= most:
            raise ArchiveError(
                f"{axis} range {start},{stop} does not lie inside {self.collection}/{self.name}: allowed is "
                f"{least} <= start < stop <= {most}",
                code="range",
            )
        return start, stop

    def region(self, z: Range | None = None, y: Range | None = None, x: Range | None = None) -> tuple[Index, Index]:
        """First voxel and the one behind the last, (z, y, x), of three ranges; see `check_range`."""
        (z0, z1), (y0, y1), (x0, x1) = (self.check_range(a, r) for a, r in zip(AXES, (z, y, x), strict=True))
        return (z0, y0, x0), (z1, y1, x1)

    def nbytes(self, start_zyx: Index, stop_zyx: Index, channels: Sequence[str] | None = None) -> int:
        """Bytes of a region in some channels, all by default, uncompressed."""
        voxels = math.prod(b - a for a, b in zip(start_zyx, stop_zyx, strict=True))
        return voxels * sum(channel.dtype.itemsize for channel in self.select(channels))


def whole_numbers(document: Mapping[str, Any], end: str, place: str) -> Index:
    """``z_{end}``, ``y_{end}`` and ``x_{end}`` of a coordinate frame.

    Raises
    ------
    ArchiveError
        If the archive gives anything but whole numbers.
    """
    values = [document.get(f"{axis}_{end}") for axis in AXES]
    if not all(type(value) is int and abs(value) < 1 << 62 for value in values):
        raise ArchiveError(f"{place}: the archive gives {values!s:.80} as {end} of the coordinate frame", code="answer")
    return values[0], values[1], values[2]  # type: ignore[return-value]


def spacing_of(document: Mapping[str, Any]) -> dict[str, float]:
    """Distance of two voxels by axis, where the frame gives a positive number."""
    values = {axis: document.get(f"{axis}_voxel_size") for axis in AXES}
    return {
        axis: float(value)
        for axis, value in values.items()
        if isinstance(value, int | float) and type(value) is not bool and 0 < value < math.inf
    }


def unit_of(document: Mapping[str, Any]) -> str:
    """The unit of distances, singular as in NGFF; nanometer, the archive's own default, where there is none."""
    unit = str(document.get("voxel_unit", "")).lower().removesuffix("s")
    return unit if unit in UNITS else "nanometer"
