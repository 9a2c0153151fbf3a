"""The directories of a TIFF file: what each page says about itself, checked before anything is believed.

A directory is a list of tags; a value that does not fit into its entry lies elsewhere in the file. Nothing is read
here whose declared place or size is not inside the file, and no more of it than the settings allow.

Source: TIFF 6.0, section 2; the BigTIFF design of AWare Systems.
"""

from __future__ import annotations

import os
import struct
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.config import settings
from pipeline.errors import VolumeError

MOST_TAGS = 4096  # of one directory; files of microscopes have some dozens
TYPE_CODES = {1: "u1", 2: "S1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 10: "i4"}
TYPE_CODES |= {11: "f4", 12: "f8", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
RATIONALS = (5, 10)
TYPE_SIZES = {kind: np.dtype(code).itemsize * (2 if kind in RATIONALS else 1) for kind, code in TYPE_CODES.items()}

WIDTH, LENGTH, BITS, COMPRESSION, DESCRIPTION = 256, 257, 258, 259, 270
SUBFILE, SAMPLES, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, PLANAR = 254, 277, 282, 283, 296, 284
STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS = 273, 279, 324, 325
SUB_DIRECTORIES, JPEG_TABLES, LSM = 330, 347, 34412

# What two pages must have in common to be planes of one volume: size, type, compression, cut into strips or tiles.
SIGNATURE = (WIDTH, LENGTH, BITS, COMPRESSION, 262, 266, SAMPLES, 278, PLANAR, 317, 322, 323, 338, 339, 32997, 32998)


@dataclass(frozen=True)
class Entry:
    """One tag: its type, the number of values, and their bytes or the place of these in the file."""

    kind: int
    count: int
    value: bytes | int

    @property
    def nbytes(self) -> int:
        """Length of the values."""
        return self.count * TYPE_SIZES[self.kind]


@dataclass(frozen=True)
class Directory:
    """One page: its place in the file and its tags."""

    offset: int
    entries: dict[int, Entry]
    following: int

    @property
    def signature(self) -> tuple[Any, ...]:
        """Equal for pages that can be planes of one volume."""
        found = [(tag, self.entries[tag]) for tag in SIGNATURE if tag in self.entries]
        return tuple((tag, e.count, e.value if isinstance(e.value, bytes) else None) for tag, e in found)


class TiffDirectories:
    """An open file and its directories; closed with the last reference to it.

    Raises
    ------
    VolumeError
        If the file does not start as a TIFF does.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.fd)
        self.size = os.fstat(self.fd).st_size
        header = self.read(0, min(16, self.size))
        orders: dict[bytes, Literal["<", ">"]] = {b"II": "<", b"MM": ">"}
        self.order = orders.get(header[:2])
        version = struct.unpack(f"{self.order}H", header[2:4])[0] if self.order and len(header) >= 8 else 0
        if version not in (42, 43) or (version == 43 and len(header) < 16):
            raise VolumeError(f"{path}: not a readable TIFF file by its first bytes")
        self.big = version == 43
        self.first = self._integer(header[8:16] if self.big else header[4:8])

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the file.

        Raises
        ------
        VolumeError
            If there are not that many.
        """
        data = os.pread(self.fd, length, offset) if offset + length <= self.size else b""
        if len(data) != length:
            raise VolumeError(
                f"{self.path}: {length:,} bytes at {offset:,} reach beyond the file's {self.size:,} bytes"
            )
        return data

    def directory(self, offset: int) -> Directory:
        """The directory at a place in the file, all of whose values lie in the file.

        Raises
        ------
        VolumeError
            If it is damaged, or larger than the setting ``tiff_directory``.
        """
        number_size, entry_size, size = (8, 20, 8) if self.big else (2, 12, 4)
        number = self._integer(self.read(offset, number_size))
        if number > MOST_TAGS:
            raise VolumeError(f"{self.path}: the page at {offset:,} has {number:,} tags; up to {MOST_TAGS} are read")
        table = self.read(offset + number_size, number * entry_size + size)
        entries: dict[int, Entry] = {}
        for tag, kind, count, value in struct.iter_unpack(
            f"{self.order}HH{'Q8s' if self.big else 'I4s'}", table[: number * entry_size]
        ):
            if kind in TYPE_CODES:
                entries.setdefault(tag, self._entry(tag, kind, count, value))
        total = sum(entry.nbytes for entry in entries.values())
        if total > settings().tiff_directory:
            limit = f"VOXELFOREST_TIFF_DIRECTORY allows {settings().tiff_directory:,}"
            raise VolumeError(f"{self.path}: the page at {offset:,} has tags of {total:,} bytes; {limit}", "too_large")
        return Directory(offset, entries, self._integer(table[number * entry_size :]))

    def walk(self) -> Iterator[Directory]:
        """All pages of the file's main chain.

        Raises
        ------
        VolumeError
            If the chain runs in a circle, or has more pages than the setting ``tiff_pages``.
        """
        seen: set[int] = set()
        offset = self.first
        while offset:
            if offset in seen:
                raise VolumeError(f"{self.path}: its pages run in a circle; the file is damaged")
            if len(seen) == settings().tiff_pages:
                limit = f"VOXELFOREST_TIFF_PAGES allows {settings().tiff_pages:,}"
                raise VolumeError(f"{self.path}: has more pages than {limit}; use Zarr for that many", "too_large")
            seen.add(offset)
            page = self.directory(offset)
            yield page
            offset = page.following

    def numbers(self, page: Directory, tag: int) -> npt.NDArray[Any]:
        """Values of a tag, empty without it; a rational is its quotient."""
        entry = page.entries.get(tag)
        if entry is None:
            return np.empty(0, "u4")
        dtype = np.dtype(TYPE_CODES[entry.kind]).newbyteorder(self.order or "=")
        values: npt.NDArray[Any] = np.frombuffer(self.data(page, tag), dtype)
        if entry.kind in RATIONALS:
            with np.errstate(divide="ignore", invalid="ignore"):
                return values[::2] / values[1::2].astype("f8")
        return values.astype(values.dtype.newbyteorder("="))

    def number(self, page: Directory, tag: int, default: int) -> int:
        """The first value of a tag."""
        values = self.numbers(page, tag)
        return int(values[0]) if values.size else default

    def text(self, page: Directory) -> str:
        """What the page says about itself in words, empty if nothing."""
        return self.data(page, DESCRIPTION).rstrip(b"\0").decode("utf-8", errors="replace")

    def data(self, page: Directory, tag: int) -> bytes:
        """Bytes of the values of a tag, none without it."""
        entry = page.entries.get(tag)
        if entry is None:
            return b""
        return entry.value if isinstance(entry.value, bytes) else self.read(entry.value, entry.nbytes)

    def _entry(self, tag: int, kind: int, count: int, value: bytes) -> Entry:
        nbytes = count * TYPE_SIZES[kind]
        if nbytes <= len(value):
            return Entry(kind, count, value[:nbytes])
        place = self._integer(value)
        if place + nbytes > self.size:
            raise VolumeError(f"{self.path}: tag {tag} reaches beyond the end of the file, which is damaged or cut off")
        return Entry(kind, count, place)

    def _integer(self, data: bytes) -> int:
        return int.from_bytes(data, "big" if self.order == ">" else "little")
