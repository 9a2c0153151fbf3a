"""Boxes of one plane of a TIFF: only the strips or tiles that a box touches are read, and mapped where they are plain.

tifffile knows how a strip is compressed and packed; where it lies, and how much of it is believed, is decided here.
"""

from __future__ import annotations

import itertools
import math
import mmap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from pipeline.config import settings
from pipeline.errors import VolumeError
from pipeline.formats.source import one_line
from pipeline.formats.tiff_directory import (
    JPEG_TABLES,
    LSM,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    TILE_COUNTS,
    TILE_OFFSETS,
    TiffDirectories,
)

# What is read: these are decoded into a size that is said beforehand, so that no file can ask for more.
COMPRESSIONS = {1: "none", 5: "LZW", 7: "JPEG", 8: "Deflate", 32946: "Deflate", 32773: "PackBits", 34925: "LZMA"}
COMPRESSIONS |= {50000: "Zstandard"}
JPEG = 7
SLACK = 1 << 16  # a compressed strip may be this much longer than twice what it holds
JPEG_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))


def key_page(path: str, tiff: TiffDirectories, offset: int) -> tifffile.TiffPage:
    """tifffile's description of one page; the file is closed again.

    Raises
    ------
    VolumeError
        If it cannot be read, or is compressed in a way that is not.
    """
    if LSM in tiff.directory(tiff.first).entries:
        raise VolumeError(f"{path}: is a Zeiss LSM file; convert with bioformats2raw and open the .zarr it makes")
    try:
        with tifffile.TiffFile(path, _multifile=False) as file:
            file.filehandle.seek(offset)
            page = tifffile.TiffPage(file, index=0)
            if int(page.compression) not in COMPRESSIONS:
                known = ", ".join(sorted(set(COMPRESSIONS.values())))
                text = f"compressed by method {int(page.compression)}, which is not read; known are {known}"
                raise VolumeError(f"{path}: {text}; convert with bioformats2raw")
            if page.dtype is None or math.prod(page.shaped) == 0:
                raise VolumeError(f"{path}: the page at {offset:,} holds no voxels of a known type")
            page.decode, page.is_final, page.jpegheader  # noqa: B018  (kept by the page, and read now)
    except VolumeError:
        raise
    except Exception as error:  # tifffile raises what a wrong tag runs into
        raise VolumeError(f"{path}: not a readable TIFF file: {one_line(error)}") from error
    return page


def segment_shape(page: tifffile.TiffPage) -> tuple[int, int, int]:
    """Depth, length and width of a strip or tile."""
    if page.is_tiled:
        return page.tiledepth, page.tilelength, page.tilewidth
    return 1, min(page.rowsperstrip, page.imagelength), page.imagewidth


def is_plain(page: tifffile.TiffPage) -> bool:
    """Whether the values of a strip or tile lie in the file as they are, but for their byte order."""
    plain = page.compression == 1 and page.predictor == 1 and page.fillorder == 1
    return plain and page.bitspersample in (8, 16, 32, 64) and page.sampleformat in (1, 2, 3) and not page.is_subsampled


class PlaneReader:
    """Reads boxes of the planes of one stack; safe for several threads.

    Parameters
    ----------
    tiff : TiffDirectories
        The open file.
    page : tifffile.TiffPage
        Describes all the planes.
    offsets : ndarray of int64
        The directory of each plane.
    virtual : bool
        The first page alone has a directory; the values of the others follow its own.
    """

    def __init__(
        self, tiff: TiffDirectories, page: tifffile.TiffPage, offsets: npt.NDArray[np.int64], virtual: bool
    ) -> None:
        self._tiff = tiff
        self._page = page
        self._offsets = offsets
        self._virtual = virtual
        self._signature = tiff.directory(int(offsets[0])).signature
        self._dtype = np.dtype(page.dtype).newbyteorder(tiff.order or "=")

    def read(self, plane: int, box: Sequence[slice], out: npt.NDArray[Any]) -> None:
        """Fill `out` with a box of a plane, both over (separate samples, depth, length, width, samples).

        Raises
        ------
        Exception
            Whatever a damaged strip runs into.
        """
        directory = self._tiff.directory(int(self._offsets[0 if self._virtual else plane]))
        if directory.signature != self._signature:
            raise ValueError(f"page {plane} differs from the first one in size or kind")
        tiled = self._page.is_tiled
        offsets = self._tiff.numbers(directory, TILE_OFFSETS if tiled else STRIP_OFFSETS)
        counts = self._tiff.numbers(directory, TILE_COUNTS if tiled else STRIP_COUNTS)
        if self._virtual:
            whole = self._page.shaped[1:]
            place = int(offsets[0]) + plane * math.prod(whole) * self._dtype.itemsize
            self._paste(self._map(place, whole), (0, 0, 0, 0), box, out)
            return
        tables = self._tiff.data(directory, JPEG_TABLES) or None
        for number, start in self._touched(box):
            if number >= len(offsets) or (number >= len(counts) and not is_plain(self._page)):
                raise ValueError(f"strip or tile {number} is not listed")
            place = int(offsets[number])
            if is_plain(self._page) and place:
                values: npt.NDArray[Any] | None = self._map(place, self._shape_at(start))
            elif place and int(counts[number]):
                values = self._decode(number, place, int(counts[number]), self._shape_at(start), tables)
            else:
                values = None  # left out by the writer: holds nothing
            self._paste(values, start, box, out)

    def _touched(self, box: Sequence[slice]) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
        """Number and first voxel (separate sample, depth, length, width) of the strips or tiles under a box."""
        size = segment_shape(self._page)
        counts = [-(-n // c) for n, c in zip(self._page.shaped[1:4], size, strict=True)]
        ranges = [range(s.start // c, -(-s.stop // c)) for s, c in zip(box[1:4], size, strict=True)]
        for sample, *index in itertools.product(range(box[0].start, box[0].stop), *ranges):
            number = int(np.ravel_multi_index((sample, *index), (box[0].stop, *counts)))
            yield number, (sample, index[0] * size[0], index[1] * size[1], index[2] * size[2])

    def _shape_at(self, start: Sequence[int]) -> tuple[int, int, int, int]:
        """Of a strip or tile; the last strip is as long as the image has rows left, a tile always whole."""
        depth, length, width = segment_shape(self._page)
        if not self._page.is_tiled:
            length = min(length, self._page.shaped[2] - start[2])
        return depth, length, width, self._page.shaped[4]

    def _map(self, place: int, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Plain values in the file, read when they are copied; mapped anew, so that they do not stay in memory."""
        length = math.prod(shape) * self._dtype.itemsize
        if place + length > self._tiff.size:
            raise ValueError(f"{length:,} bytes at {place:,} reach beyond the file's {self._tiff.size:,} bytes")
        start = place // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        mapped = mmap.mmap(self._tiff.fd, place - start + length, access=mmap.ACCESS_READ, offset=start)
        return np.ndarray(shape, self._dtype, mapped, place - start)

    def _decode(
        self, number: int, place: int, count: int, shape: tuple[int, ...], tables: bytes | None
    ) -> npt.NDArray[Any]:
        size = math.prod(shape)
        if size > settings().image_pixels:
            limit = f"VOXELFOREST_IMAGE_PIXELS allows {settings().image_pixels:,}"
            raise VolumeError(f"{self._tiff.path}: strips or tiles of {size:,} values; {limit}", code="too_large")
        if count > 2 * size * self._dtype.itemsize + SLACK:
            raise ValueError(f"{count:,} bytes are said to hold {size:,} values")
        data = self._tiff.read(place, count)
        options = {}
        if self._page.compression == JPEG:
            _check_frame(data, shape)
            options = {"jpegtables": tables, "jpegheader": self._page.jpegheader}
        decoded, _, _ = self._page.decode(data, number, **options)
        if decoded is None:
            raise ValueError(f"strip or tile {number} is empty")
        return decoded

    def _paste(
        self, values: npt.NDArray[Any] | None, start: Sequence[int], box: Sequence[slice], out: npt.NDArray[Any]
    ) -> None:
        """Copy what a strip or tile (depth, length, width, samples) has of the box; nothing stands for no data."""
        sample = start[0] - box[0].start
        place, inside = [], []
        lengths = values.shape[:3] if values is not None else segment_shape(self._page)
        for first, length, wanted in zip(start[1:], lengths, box[1:4], strict=True):
            low, high = max(first, wanted.start), min(first + length, wanted.stop)
            place.append(slice(low - wanted.start, max(high - wanted.start, 0)))
            inside.append(slice(low - first, max(high - first, 0)))
        target = out[(sample, *place)]
        target[...] = self._page.nodata if values is None else values[(*inside, box[4])]


def _check_frame(data: bytes, shape: tuple[int, ...]) -> None:
    """Refuse a JPEG that says to be larger than its strip or tile (markers: ITU-T T.81, B.1)."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in JPEG_FRAMES:
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            if height * width > math.prod(shape[:3]) * 4:
                raise ValueError(f"a JPEG of {width} x {height} in a strip or tile of shape {shape}")
            return
        at += 2 + (int.from_bytes(data[at + 2 : at + 4], "big") if not 0xD0 <= marker <= 0xD8 else 0)
    raise ValueError("a JPEG without a frame")
