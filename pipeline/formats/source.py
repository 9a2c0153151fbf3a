"""What every file format offers: an array in a file, described at once and read box by box.

A source is a frozen description, so it travels to any process; no open file does. Files are opened when the first
box is read, in the process that reads it, and a bounded number of them stays open there (`pipeline.formats.handles`).
"""

from __future__ import annotations

import abc
import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.errors import PipelineError, ReadError, VolumeError
from pipeline.formats.chunk_cache import inside, read_through, volume

LARGEST_CHUNK_BYTES = 1 << 32  # HDF5 itself allows no larger one; a chunk is decoded as a whole
NO_ZARR = "no_zarr"  # code of the error that there is no Zarr hierarchy at a place
SLAB_BYTES = 1 << 24  # what one read of an uncut array should be about; only a proposal to whoever plans
CHUNKS_PROBED = 4096  # bound of the search for the damaged chunk that an error names

Stamp = tuple[int, int]


class Source(Protocol):
    """An array in a file; picklable, safe to read from several threads.

    ``shape``, ``chunks`` and boxes are in the order of the file's own axes; ``dtype`` is in the machine's byte order.
    """

    @property
    def url(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def chunks(self) -> tuple[int, ...]: ...
    @property
    def axes(self) -> str | None: ...
    @property
    def spacing(self) -> Mapping[str, float]: ...
    @property
    def units(self) -> Mapping[str, str]: ...
    @property
    def channel_names(self) -> tuple[str, ...]: ...
    @property
    def value_range(self) -> tuple[float, float] | None: ...
    @property
    def fingerprint(self) -> str: ...
    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ArraySource(abc.ABC):
    """Base of the formats: checks, byte order and errors of `read`; a format adds `fetch`.

    Parameters
    ----------
    url : str
        The file or folder, as errors name it; with the dataset inside, if there is one.
    shape, chunks : tuple of int
        Voxels of the array and of the unit that is read best, in the order of the file.
    dtype : dtype
        In the machine's byte order.
    fingerprint : str
        Changes whenever the data is known to have changed.
    axes : str, optional
        The file's own names, None if it has none.
    spacing, units : mapping by axis letter
        Distance of two voxels and its unit; empty where unknown.
    channel_names : tuple of str
        Of the channels in their order; empty where unknown.
    value_range : tuple of float, optional
        What the file says that its smallest and largest possible value are.
    unit : tuple of int, optional
        Voxels of what is decoded as a whole; None where a box is read as it is.
    stamped, stamp
        A local file and its size and modification time when it was opened; a read refuses another state.
    """

    url: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    fingerprint: str
    axes: str | None = None
    spacing: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None
    unit: tuple[int, ...] | None = None
    stamped: str | None = None
    stamp: Stamp | None = None

    @abc.abstractmethod
    def fetch(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        """The voxels of a checked, non-empty box; may raise anything."""

    def fetch_units(self, boxes: list[tuple[slice, ...]]) -> Iterator[npt.NDArray[Any]]:
        """The voxels of boxes that are each decoded as a whole, as arrays of their own; may raise anything.

        All are fetched together if they fill a box, since a server is asked for all of it at once.
        """
        hull = tuple(
            slice(min(s.start for s in spans), max(s.stop for s in spans)) for spans in zip(*boxes, strict=True)
        )
        if volume(hull) > sum(map(volume, boxes)):
            yield from (np.array(self.fetch(box)) for box in boxes)
            return
        whole = self.fetch(hull)
        yield from (np.array(whole[inside(box, hull)]) for box in boxes)

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """Read a box, ``start`` inclusive, ``stop`` exclusive, in the order of the file.

        Raises
        ------
        VolumeError
            If the box reaches out of the array.
        ReadError
            If the data is damaged, gone or no longer what was opened; names the file and the place.
        """
        self._check_inside(start, stop)
        shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        if 0 in shape:
            return np.empty(shape, self.dtype)
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        self._check_unchanged()
        try:
            data = np.asarray(self._fetch_through(box))
        except (PipelineError, MemoryError):
            raise
        except Exception as error:  # decoders raise whatever they like: OSError, ValueError, zlib.error, ...
            raise self._damaged(box, error) from error
        self._check_unchanged()
        if data.shape != shape:
            raise ReadError(f"{self.url}: {_places(box)} gave shape {data.shape}: the file is not what was opened")
        return data.astype(self.dtype, copy=False)

    def _fetch_through(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        if self.unit is None:
            return self.fetch(box)
        return read_through(self.fingerprint, self.shape, self.unit, self.dtype, box, self.fetch, self.fetch_units)

    def _check_inside(self, start: Sequence[int], stop: Sequence[int]) -> None:
        fits = len(start) == len(stop) == len(self.shape) and all(
            0 <= a <= b <= n for a, b, n in zip(start, stop, self.shape, strict=True)
        )
        if not fits:
            raise VolumeError(f"{self.url}: {list(start)} to {list(stop)} does not lie inside shape {self.shape}")

    def _check_unchanged(self) -> None:
        """Refuse a file that was cut, replaced or removed: mapped pages past its end kill the process."""
        if self.stamped is None:
            return
        try:
            now = stamp(self.stamped)
        except OSError as error:
            raise ReadError(f"{self.url}: {one_line(error)}") from error
        if now != self.stamp:
            raise ReadError(f"{self.url}: the file changed after it was opened; open it again")

    def _damaged(self, box: tuple[slice, ...], error: Exception) -> ReadError:
        """Name the chunk that cannot be read: a box holds many, and only one of them is to be replaced."""
        for chunk in itertools.islice(_chunk_boxes(box, self.chunks), CHUNKS_PROBED):
            try:
                self.fetch(chunk)
            except Exception as cause:
                number = tuple(s.start // n for s, n in zip(chunk, self.chunks, strict=True))
                return ReadError(f"{self.url}: chunk {number} at {_places(chunk)} is damaged: {one_line(cause)}")
        return ReadError(f"{self.url}: {_places(box)} cannot be read: {one_line(error)}")


def stamp(path: str) -> Stamp:
    """Size in bytes and modification time in nanoseconds."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def fingerprint_of(*parts: object) -> str:
    """Hexadecimal SHA-256 over the parts; no two lists of parts share their text."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def native_dtype(dtype: np.dtype[Any], url: str) -> np.dtype[Any]:
    """`dtype` in the machine's byte order.

    Raises
    ------
    VolumeError
        Unless it is bool, an integer or a real float of at most 8 bytes.
    """
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise VolumeError(f"{url}: data type {dtype} is not readable; allowed are bool, integers and real floats")
    return np.dtype(f"{dtype.kind}{dtype.itemsize}")


def check_sizes(url: str, shape: Sequence[int], chunks: Sequence[int], dtype: np.dtype[Any]) -> None:
    """Refuse an array without voxels, and one whose chunks are too large to be decoded.

    Raises
    ------
    VolumeError
        The message names the file and the sizes.
    """
    if 0 in shape or not shape:
        raise VolumeError(f"{url}: shape {tuple(shape)} holds no voxels")
    size = int(np.prod([int(n) for n in chunks], dtype=object)) * dtype.itemsize
    if size > LARGEST_CHUNK_BYTES:
        raise VolumeError(f"{url}: chunks {tuple(chunks)} are {size:,} bytes each; allowed are {LARGEST_CHUNK_BYTES:,}")


def slab_chunks(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Chunks to propose for an array stored in one piece, C order: whole trailing axes, about `SLAB_BYTES` each."""
    room = SLAB_BYTES // itemsize
    chunks = []
    for length in reversed(shape):
        chunks.append(max(min(length, room), 1))
        room //= max(length, 1)
    return tuple(reversed(chunks))


def one_line(error: BaseException) -> str:
    """The text of an error without line breaks, its class where it has no text."""
    return " ".join(str(error).split()) or type(error).__name__


def _places(box: tuple[slice, ...]) -> str:
    return "[" + ", ".join(f"{s.start}:{s.stop}" for s in box) + "]"


def _chunk_boxes(box: tuple[slice, ...], chunks: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """The parts of `box` in each chunk that it touches."""
    cuts = [
        [slice(max(a, s.start), min(a + n, s.stop)) for a in range(s.start // n * n, s.stop, n)]
        for s, n in zip(box, chunks, strict=True)
    ]
    return itertools.product(*cuts)
