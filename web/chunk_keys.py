"""Keys of virtual volumes: which document or which chunk a path below a dialect means.

Keys are parsed strictly: numbers are canonical ASCII integers, so that each chunk has one URL, and a chunk that lies
outside the grid has none. Inside the grid there is always an answer: readers take 404 for a chunk of zeros.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.serving.layer import Layer, LayerLevel

NUMBER = "(?:0|[1-9][0-9]{0,17})"
_INDEX = re.compile(rf"{NUMBER}(?:/{NUMBER})*", re.ASCII)
_SPAN = re.compile(rf"({NUMBER})-({NUMBER})_({NUMBER})-({NUMBER})_({NUMBER})-({NUMBER})", re.ASCII)

Place = tuple[int, ...]


@dataclass(frozen=True)
class Chunk:
    """A chunk of a level: the box ``start .. stop`` in the order of the layer's dims, clipped at the level's end.

    `shape` is what a reader wants to get, the rest being filled up.
    """

    level: int
    start: Place
    stop: Place
    shape: Place


def parse_numbers(text: str) -> Place | None:
    """Canonical integers between slashes; None for anything else.

    Examples
    --------
    >>> parse_numbers("0/12"), parse_numbers("00/12"), parse_numbers("٣"), parse_numbers("")
    ((0, 12), None, None, None)
    """
    return tuple(map(int, text.split("/"))) if _INDEX.fullmatch(text) else None


def zarr_chunk(level: LayerLevel, key: str) -> Chunk | None:
    """The chunk of a key such as ``0/1/2``, padded to the full shape of a chunk; None outside the grid."""
    box = _cell(level, key, level.chunk)
    return None if box is None else Chunk(level.index, *box, shape=level.chunk)


def precomputed_chunk(layer: Layer, level: LayerLevel, key: str, time: int) -> Chunk | None:
    """The chunk of a key such as ``64-90_96-100_32-64``, clipped, with all channels; None if it is no cell of the grid.

    Parameters
    ----------
    layer : Layer
    level : LayerLevel
    key : str
        First and one past the last voxel along x, y and z.
    time : int
        Point in time; 0 where the layer has no t.
    """
    found = _SPAN.fullmatch(key)
    if found is None:
        return None
    numbers = [int(text) for text in found.groups()]
    start = {"x": numbers[0], "y": numbers[2], "z": numbers[4], "t": time, "c": 0}
    stop = {"x": numbers[1], "y": numbers[3], "z": numbers[5], "t": time + 1, "c": 1}
    for axis, n, size in zip(layer.dims, level.shape, level.chunk, strict=True):
        if axis == "c":
            stop["c"] = n
        elif axis != "t" and (start[axis] % size or stop[axis] != min(start[axis] + size, n) or start[axis] >= n):
            return None
    if any((start[axis], stop[axis]) != (0, 1) for axis in "zyx" if axis not in layer.dims):
        return None
    low, high = _ordered(layer.dims, start), _ordered(layer.dims, stop)
    return Chunk(level.index, low, high, _extent(low, high))


def tile_chunk(layer: Layer, level: LayerLevel, key: str, side: int) -> Chunk | None:
    """The picture of a key such as ``40/0/1``: a number for each dim, along y and x that of a tile of `side` voxels."""
    box = _cell(level, key, tuple(side if axis in "yx" else 1 for axis in layer.dims))
    return None if box is None else Chunk(level.index, *box, shape=_extent(*box))


def find_level(layer: Layer, text: str) -> LayerLevel | None:
    """The level of a number in a key."""
    number = parse_numbers(text)
    if number is None or len(number) != 1 or number[0] >= len(layer.levels):
        return None
    return layer.levels[number[0]]


def _cell(level: LayerLevel, key: str, sizes: Place) -> tuple[Place, Place] | None:
    """The cell of a grid of `sizes` over a level, clipped at the level's end."""
    index = parse_numbers(key)
    if index is None or len(index) != len(sizes):
        return None
    start = tuple(i * size for i, size in zip(index, sizes, strict=True))
    if any(a >= n for a, n in zip(start, level.shape, strict=True)):
        return None
    return start, tuple(min(a + size, n) for a, size, n in zip(start, sizes, level.shape, strict=True))


def _extent(start: Place, stop: Place) -> Place:
    return tuple(b - a for a, b in zip(start, stop, strict=True))


def _ordered(dims: str, values: dict[str, int]) -> Place:
    return tuple(values[axis] for axis in dims)
