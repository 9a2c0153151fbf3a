"""The first part of an array as an array of its own, with borders where it was cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import VolumeError
from pipeline.formats.source import Source, fingerprint_of


@dataclass(frozen=True, eq=False)
class FirstPart:
    """A source cut to a shape, from its first voxel on.

    Parameters
    ----------
    source : Source
    shape : tuple of int
        In the order of the file; nowhere longer than the source.
    """

    source: Source
    shape: tuple[int, ...]

    @property
    def url(self) -> str:
        """That of the source."""
        return self.source.url

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the source."""
        return self.source.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Those of the source, cut to the shape."""
        return tuple(min(c, n) for c, n in zip(self.source.chunks, self.shape, strict=True))

    @property
    def axes(self) -> str | None:
        """Those of the source."""
        return self.source.axes

    @property
    def spacing(self) -> Mapping[str, float]:
        """That of the source."""
        return self.source.spacing

    @property
    def units(self) -> Mapping[str, str]:
        """Those of the source."""
        return self.source.units

    @property
    def value_range(self) -> tuple[float, float] | None:
        """That of the source."""
        return self.source.value_range

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Those of the source, as many as there are channels left."""
        axes = self.axes or ""
        return self.source.channel_names[: self.shape[axes.index("c")]] if "c" in axes else self.source.channel_names

    @property
    def fingerprint(self) -> str:
        """Over that of the source, and the shape."""
        return fingerprint_of(self.source.fingerprint, self.shape)

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """A box of the part; see `pipeline.formats.source.ArraySource.read`."""
        if not all(0 <= a <= b <= n for a, b, n in zip(start, stop, self.shape, strict=True)):
            raise VolumeError(f"{self.url}: {list(start)} to {list(stop)} does not lie inside shape {self.shape}")
        return self.source.read(start, stop)
