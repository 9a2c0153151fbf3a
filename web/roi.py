"""Regions of a layer as the new API takes them: any axes, each an index or a range, on any level."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from pipeline.serving.layer import Layer
from web.errors import HttpError

AXES = "tczyx"
RANGE = r"[0-9]{1,15}|[0-9]{0,15}:[0-9]{0,15}"
_RANGE = re.compile(RANGE, re.ASCII)


@dataclass(frozen=True)
class Region:
    """A box of a level in the order of the layer's dims, and the axes that were given as a single index."""

    start: tuple[int, ...]
    stop: tuple[int, ...]
    dims: str
    single: str

    @property
    def kept(self) -> str:
        """The axes that the answer has."""
        return "".join(axis for axis in self.dims if axis not in self.single)

    def drop_single(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values over `kept`, from values over `dims`."""
        return values[tuple(0 if axis in self.single else slice(None) for axis in self.dims)]


def parse_region(layer: Layer, level: int, given: Mapping[str, str | None]) -> Region:
    """The region that the parameters t, c, z, y, x mean; an axis that is not given is whole.

    Whether it lies inside the level is for the engine to say.

    Raises
    ------
    HttpError
        400, if a parameter is malformed or of an axis that the layer lacks.
    """
    shape = dict(zip(layer.dims, layer.level(level).shape, strict=True))
    start, stop, single = dict.fromkeys(layer.dims, 0), dict(shape), ""
    for axis in AXES:
        text = given.get(axis)
        if text is None:
            continue
        if axis not in shape:
            raise HttpError(
                f"{layer.name} of {layer.volume.name} has no axis {axis}", code="axes", given=axis, allowed=layer.dims
            )
        if not _RANGE.fullmatch(text):
            raise HttpError(
                f"{axis} is neither an index nor a range",
                code="region",
                given=f"{axis}={text[:100]}",
                allowed="an integer such as 3, or a range such as 0:64, 0: or :64",
            )
        first, colon, last = text.partition(":")
        start[axis] = int(first or 0)
        stop[axis] = start[axis] + 1 if not colon else int(last) if last else shape[axis]
        single += "" if colon else axis
    return Region(tuple(start.values()), tuple(stop.values()), layer.dims, single)
