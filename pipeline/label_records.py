"""Arrays in one file, whole or absent, of which each is read alone: what labelling keeps on disk between its steps.

A file is the length of its header, the header (JSON: name, type, shape, place and packing of each array) and the
arrays. Labels and faces are packed; tables that are looked into stay plain, so that a look-up reads a few pages.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import numpy.typing as npt

from pipeline.durability import write_errors, write_file

Array = npt.NDArray[Any]
ALIGN = 64
_LENGTH = struct.Struct("<Q")
_PACKED_LEVEL = 1  # zstd: 0.4 ns a voxel of one core on labels of 2 % of the voxels, LZ4 0.5 and 40 times the bytes


def pack(array: Array) -> bytes:
    """Compressed bytes of an array of labels."""
    packed: bytes = numcodecs.Zstd(level=_PACKED_LEVEL).encode(np.ascontiguousarray(array))
    return packed


def unpack(packed: bytes, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Array:
    """The array behind packed bytes."""
    return np.frombuffer(numcodecs.Zstd(level=_PACKED_LEVEL).decode(packed), dtype).reshape(shape)


def write_record(path: Path, plain: Mapping[str, Array], packed: Mapping[str, Array] | None = None) -> None:
    """Write arrays under their names.

    Parameters
    ----------
    path : Path
    plain, packed : mapping of str to ndarray
        As they are, and compressed.

    Raises
    ------
    WriteError
        If the disk is full or fails.
    """
    bodies = [(name, array, _bytes(array), False) for name, array in plain.items()]
    bodies += [(name, array, memoryview(pack(array)), True) for name, array in (packed or {}).items()]
    entries, at = {}, 0
    for name, array, body, is_packed in bodies:
        entries[name] = [array.dtype.str, array.shape, at, len(body), is_packed]
        at += len(body) + -len(body) % ALIGN
    header = json.dumps(entries).encode()
    header += b" " * (-(len(header) + _LENGTH.size) % ALIGN)
    parts: list[bytes | memoryview] = [_LENGTH.pack(len(header)), header]
    for _, _, body, _ in bodies:
        parts += [body, bytes(-len(body) % ALIGN)]
    with write_errors(path):
        write_file(path, b"".join(parts))


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


class Record:
    """A file of `write_record`, whose arrays are read when they are asked for.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
            self._entries = json.loads(file.read(length))
        self._base = _LENGTH.size + length

    def names(self) -> list[str]:
        """Names of the arrays."""
        return list(self._entries)

    def __getitem__(self, name: str) -> Array:
        """An array, read into memory."""
        dtype, shape, at, length, is_packed = self._entries[name]
        with self._path.open("rb") as file:
            file.seek(self._base + at)
            body = file.read(length)
        return unpack(body, dtype, tuple(shape)) if is_packed else np.frombuffer(body, dtype).reshape(shape)

    def look_into(self, name: str) -> Array:
        """A plain array that stays on disk; its pages are read as they are touched."""
        dtype, shape, at, length, _ = self._entries[name]
        if length == 0:  # cannot be mapped
            return np.empty(shape, dtype)
        return np.memmap(self._path, dtype, "r", self._base + at, tuple(shape))
