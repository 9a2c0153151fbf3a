"""Arrays that channels are made of, and that are made of channels: parts of files' arrays, arrays in memory, stacks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.blocks import Box
from pipeline.formats.source import Source, check_sizes, fingerprint_of, native_dtype, slab_chunks

if TYPE_CHECKING:
    from pipeline.volume import Volume

HASHED_BYTES = 1 << 26  # of an array in memory at once


@dataclass(frozen=True, eq=False)
class PartSource:
    """A box of another array, without the axes that are named; picklable where that is.

    Parameters
    ----------
    source : Source
    source_axes : str
        A letter for each of its dimensions.
    start, stop : tuple of int
        Along all of these.
    dropped : str
        Axes that are left out; the box has length 1 there.
    label : str
        What errors add to the url.
    """

    source: Source
    source_axes: str
    start: tuple[int, ...]
    stop: tuple[int, ...]
    dropped: str = ""
    label: str = ""
    channel_names: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Of the whole, and which part this is."""
        return f"{self.source.url}{self.label}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along the axes that are left."""
        return self._left([b - a for a, b in zip(self.start, self.stop, strict=True)])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the whole."""
        return self.source.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Of the whole, along the axes that are left."""
        return tuple(min(c, n) for c, n in zip(self._left(self.source.chunks), self.shape, strict=True))

    @property
    def axes(self) -> str:
        """Those that are left."""
        return "".join(axis for axis in self.source_axes if axis not in self.dropped)

    @property
    def spacing(self) -> Mapping[str, float]:
        """Of the whole, by our names of the axes."""
        return self._renamed(self.source.spacing)

    @property
    def units(self) -> Mapping[str, str]:
        """Of the whole, by our names of the axes."""
        return self._renamed(self.source.units)

    @property
    def value_range(self) -> tuple[float, float] | None:
        """Of the whole."""
        return self.source.value_range

    @property
    def fingerprint(self) -> str:
        """Of the whole and of what decides the part."""
        return fingerprint_of(self.source.fingerprint, "part", self.source_axes, self.start, self.stop, self.dropped)

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """Read a box, in the order of the axes that are left."""
        at = dict(zip(self.axes, zip(start, stop, strict=True), strict=True))
        low, high = [], []
        for axis, a, b in zip(self.source_axes, self.start, self.stop, strict=True):
            first, last = at.get(axis, (0, b - a))
            low.append(a + first)
            high.append(a + last)
        data = self.source.read(low, high)
        keys = tuple(0 if axis in self.dropped else slice(None) for axis in self.source_axes)
        return np.asarray(data[keys])

    def _left(self, values: Sequence[int]) -> tuple[int, ...]:
        return tuple(n for axis, n in zip(self.source_axes, values, strict=True) if axis not in self.dropped)

    def _renamed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        ours = dict(zip(self.source.axes or self.source_axes, self.source_axes, strict=False))
        return {ours[name]: value for name, value in values.items() if ours.get(name, "") in self.axes}


@dataclass(frozen=True, eq=False)
class ArrayInMemory:
    """A NumPy array, or a lazy one of Dask, as a source.

    Workers of other processes get the whole array once, or the graph; what lies in a file is better opened as that.

    Parameters
    ----------
    array : array-like
        With `shape` and `dtype`; sliced with a tuple of slices, and `compute` where it is lazy.
    axes : str
    fingerprint : str
        Of its values.
    spacing, units : mapping by axis letter
    channel_names : tuple of str
    chunks : tuple of int
    url : str
        For errors.
    """

    array: Any = field(repr=False)
    axes: str
    fingerprint: str
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    spacing: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    url: str = "the array"
    value_range: tuple[float, float] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along `axes`."""
        return tuple(int(n) for n in self.array.shape)

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """Read a box."""
        part = self.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        if hasattr(part, "compute"):
            part = part.compute(scheduler="synchronous")  # in this task's thread: it is one of many already
        return np.asarray(part, self.dtype)


@dataclass(frozen=True, eq=False)
class StackSource:
    """Channels one after the other as one array, (c, z, y, x).

    Parameters
    ----------
    channels : mapping of str to Volume
        Of one shape and type, as in a `ChannelSet`.
    """

    channels: Mapping[str, Volume]

    @property
    def url(self) -> str:
        """Of the first, and how many there are."""
        first = next(iter(self.channels.values())).url
        return first if len(self.channels) == 1 else f"{first} and {len(self.channels) - 1} further channels"

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels and voxels."""
        return len(self.channels), *self._first.whole.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all of them."""
        return self._first.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Of the first, one channel at a time."""
        by_axis = dict(zip(self._first.dims, self._first.chunks, strict=True))
        return 1, *(by_axis.get(axis, 1) for axis in "zyx")

    @property
    def axes(self) -> str:
        """Always the same."""
        return "czyx"

    @property
    def spacing(self) -> Mapping[str, float]:
        """Of the first."""
        return self._first.spacing

    @property
    def units(self) -> Mapping[str, str]:
        """Of the first."""
        return self._first.units

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels."""
        return tuple(self.channels)

    @property
    def value_range(self) -> None:
        """Not known."""
        return None

    @property
    def fingerprint(self) -> str:
        """Of all channels and their names."""
        return fingerprint_of("stack", *((name, volume.digest) for name, volume in self.channels.items()))

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """Read a box."""
        z, y, x = (int(n) for n in start[1:])
        box = Box((0, z, y, x), (1, *(int(n) for n in stop[1:])))  # type: ignore[arg-type]
        wanted = list(self.channels.values())[start[0] : stop[0]]
        return np.stack([volume.read(box)[0, 0] for volume in wanted])

    @property
    def _first(self) -> Volume:
        return next(iter(self.channels.values()))


def wrap_array(
    array: Any,
    axes: str,
    *,
    spacing: Mapping[str, float] | None = None,
    units: Mapping[str, str] | None = None,
    channel_names: Sequence[str] = (),
) -> ArrayInMemory:
    """A source of an array in memory or of Dask.

    Raises
    ------
    VolumeError
        If its type is none that is read, or it has no voxels.
    """
    lazy = hasattr(array, "dask")
    array = array if lazy else np.asarray(array)
    url = "the array"
    dtype = native_dtype(array.dtype, url)
    shape = tuple(int(n) for n in array.shape)
    chunks = tuple(max(sizes) for sizes in array.chunks) if lazy else slab_chunks(shape, dtype.itemsize)
    check_sizes(url, shape, chunks, dtype)
    names = tuple(str(name) for name in channel_names)
    identity = fingerprint_of("dask", array.name) if lazy else _hash(array)
    return ArrayInMemory(array, axes, identity, chunks, dtype, dict(spacing or {}), dict(units or {}), names, url)


def _hash(array: npt.NDArray[Any]) -> str:
    """Hexadecimal SHA-256 over the values of an array, read in parts so that no copy of the whole is made."""
    digest = hashlib.sha256(repr((array.shape, array.dtype.str)).encode())
    step = max(1, HASHED_BYTES // max(array[:1].nbytes, 1))
    for first in range(0, len(array), step):
        digest.update(np.ascontiguousarray(array[first : first + step]).tobytes())
    return digest.hexdigest()
