"""An input volume: an array in a file with named axes, described once and read box by box.

`Volume` is what tasks hold and read from; `open_volume` wraps it into a lazy, labelled array for people. Neither
reads voxels when it opens. A file keeps its own order of axes; behind this module there is only the canonical one.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline import axes as axis_names
from pipeline.blocks import AXES, Box
from pipeline.errors import VolumeError
from pipeline.formats import open_source
from pipeline.formats.source import Source, fingerprint_of
from pipeline.indexing import AxisIndex, full_key, select

if TYPE_CHECKING:
    import xarray

V = TypeVar("V")
COMPUTE_CHUNK_BYTES = 64 << 20  # of one lazy chunk: large enough for few tasks, small against a worker's memory


@dataclass(frozen=True, eq=False)
class Volume:
    """An array in a file with named axes; frozen, picklable, equal and hashed by `digest`.

    Parameters
    ----------
    source : Source
        The array as its file has it.
    source_axes : str
        Letters of ``tczyx``, one for each dimension of the file's array.
    axes_reason : str
        Why these; a sentence for the person.
    version : str, optional
        Anything the user wants to tell states of the data apart by; part of the digest.
    """

    source: Source
    source_axes: str
    axes_reason: str = ""
    version: str | None = None

    @property
    def url(self) -> str:
        """The file, and the dataset inside."""
        return self.source.url

    @property
    def dims(self) -> str:
        """The axes in canonical order, a subset of ``tczyx``."""
        return axis_names.canonical(self.source_axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along `dims`."""
        return self._ordered(self.source.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Voxels along `dims` of the unit that the file is read best by."""
        return self._ordered(self.source.chunks)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel, in the machine's byte order."""
        return self.source.dtype

    @property
    def ndim(self) -> int:
        """Number of `dims`."""
        return len(self.source_axes)

    @property
    def spacing(self) -> dict[str, float]:
        """Distance of two voxels by axis; an axis is missing where it is unknown."""
        return self._by_axis(self.source.spacing)

    @property
    def units(self) -> dict[str, str]:
        """Unit of `spacing` by axis; an axis is missing where it is unknown."""
        return self._by_axis(self.source.units)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels; empty unless the file has one for each."""
        names = self.source.channel_names
        return names if len(names) == self.n_channels else ()

    @property
    def value_range(self) -> tuple[float, float] | None:
        """Smallest and largest value that there can be, where the file says so."""
        return self.source.value_range

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over what decides the voxels and their axes."""
        return fingerprint_of(self.source.fingerprint, self.source_axes, self.version)

    @property
    def whole(self) -> Box:
        """All of it, over (t, z, y, x)."""
        return Box.whole([self._length(axis) for axis in AXES])

    @property
    def n_channels(self) -> int:
        """Length along c, 1 without that axis."""
        return self._length("c")

    def read(self, box: Box) -> npt.NDArray[Any]:
        """The voxels of a box with all channels.

        Returns
        -------
        ndarray, (t, c, z, y, x)
            C order, dtype of the volume; axes that the volume lacks have length 1.

        Raises
        ------
        VolumeError
            If the box reaches out of the volume.
        ReadError
            If the data is damaged or gone; names the file and the place.
        """
        if not self.whole.contains(box) or min(box.shape) < 0:
            raise VolumeError(f"{self.url}: the region {box} does not lie inside {self.whole}", code="region")
        start = {**dict(zip(AXES, box.start, strict=True)), "c": 0}
        stop = {**dict(zip(AXES, box.stop, strict=True)), "c": self.n_channels}
        if 0 in box.shape:
            t, z, y, x = box.shape
            return np.empty((t, self.n_channels, z, y, x), self.dtype)
        data = self.source.read([start[a] for a in self.source_axes], [stop[a] for a in self.source_axes])
        return np.ascontiguousarray(axis_names.reorder(data, self.source_axes, axis_names.ORDER))

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Index along `dims` with integers, slices and at most one list, as NumPy does; reads the box around it."""
        parts = [AxisIndex.of(k, n) for k, n in zip(full_key(key, self.ndim), self.shape, strict=True)]
        by_axis = dict(zip(self.dims, parts, strict=True))
        box = [by_axis[axis] for axis in self.source_axes]
        data = self.source.read([part.start for part in box], [part.stop for part in box])
        ordered = axis_names.reorder(data, self.source_axes, self.dims)
        return np.asarray(select(ordered, [part.inside for part in parts]), order="C")  # ascontiguousarray has no 0-D

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Volume) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        sizes = " ".join(f"{axis}={n}" for axis, n in zip(self.dims, self.shape, strict=True))
        return f"<Volume {self.url} {sizes} {self.dtype}>"

    def _length(self, axis: str) -> int:
        return self.source.shape[self.source_axes.index(axis)] if axis in self.source_axes else 1

    def _ordered(self, values: Sequence[int]) -> tuple[int, ...]:
        return tuple(values[self.source_axes.index(axis)] for axis in self.dims)

    def _by_axis(self, values: Mapping[str, V]) -> dict[str, V]:
        """By our names: the file's may have been overruled by the caller, dimension by dimension."""
        ours = dict(zip(self.source.axes or self.source_axes, self.source_axes, strict=False))
        return {ours[name]: value for name, value in values.items() if name in ours}


def open_raw(
    path: str | os.PathLike[str],
    *,
    dataset: str | None = None,
    axes: str | None = None,
    level: int = 0,
    project_axes: str | None = None,
    version: str | None = None,
) -> Volume:
    """Describe a volume from its file's metadata.

    Parameters
    ----------
    path : path or URL
        A file or folder of a known format; may go on inside it (``x.zarr/0``, ``x.h5/exported_data``).
    dataset : str, optional
        Name of the array inside; needed if there are several.
    axes : str, optional
        One letter of ``tczyx`` for each dimension, in the file's order; wins over what the file says.
    level : int
        Which image of a multiscale pyramid, 0 the finest.
    project_axes : str, optional
        Axes that an ilastik project was trained with; taken if nobody else names them and their number fits.
    version : str, optional
        A word of the user's that becomes part of the digest: edits of chunks in place are not seen.

    Raises
    ------
    VolumeError
        If there is no such volume, or its axes contradict what was given.

    Warns
    -----
    AxesGuessedWarning
        If neither the caller nor the file names the axes; says what was taken.
    """
    return _name_axes(open_source(path, dataset, level), axes, project_axes, version)


def open_volume(
    path: str | os.PathLike[str],
    *,
    dataset: str | None = None,
    axes: str | None = None,
    level: int = 0,
    project_axes: str | None = None,
    version: str | None = None,
) -> xarray.DataArray:
    """Open a volume as a lazy, labelled array; the parameters, errors and warnings are those of `open_raw`.

    Returns
    -------
    xarray.DataArray
        Dims from ``t c z y x`` in that order over a Dask array, one task for each chunk; ``attrs`` hold `spacing`
        and `units` by axis, and the coordinate c the channels' names, where they are known. A slice reads no more than
        itself.

    Examples
    --------
    >>> raw = open_volume("raw.h5", dataset="exported_data")  # doctest: +SKIP
    >>> raw[40, :512, :512].compute()  # doctest: +SKIP
    """
    return as_array(_name_axes(open_source(path, dataset, level), axes, project_axes, version))


def _name_axes(source: Source, axes: str | None, project_axes: str | None, version: str | None) -> Volume:
    try:
        choice = axis_names.choose(axes, source.axes, project_axes, source.shape)
    except VolumeError as error:
        raise VolumeError(f"{source.url}: {error.message}", code=error.code) from error
    if choice.guessed:  # the warning is to point at who called open_raw or open_volume
        warnings.warn(f"{source.url}: {choice.reason}", axis_names.AxesGuessedWarning, stacklevel=3)
    return Volume(source, choice.axes, choice.reason, version)


def as_array(volume: Volume) -> xarray.DataArray:
    """The lazy, labelled array over a volume that `open_volume` returns."""
    import xarray

    from pipeline.sliced import sliced_array

    chunks = _compute_chunks(volume.shape, volume.chunks, volume.dtype.itemsize)
    lazy = sliced_array(volume, chunks, f"raw-{volume.digest}")
    attrs = {name: value for name, value in (("spacing", volume.spacing), ("units", volume.units)) if value}
    names = volume.channel_names
    named = "c" in volume.dims and len(set(names)) == len(names) > 0  # `sel` wants one channel for a name
    coords = {"c": list(names)} if named else {}
    array = xarray.DataArray(lazy, coords, tuple(volume.dims), name="raw", attrs=attrs)
    array.encoding["volume"] = volume
    return array


def volume_of(raw: xarray.DataArray) -> Volume | None:
    """The volume behind an array, if the array is exactly what `open_volume` returned, else None."""
    volume = raw.encoding.get("volume")
    if not isinstance(volume, Volume) or tuple(raw.dims) != tuple(volume.dims):
        return None
    return volume if getattr(raw.data, "name", None) == f"raw-{volume.digest}" else None


def _compute_chunks(shape: Sequence[int], chunks: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Multiples of the stored chunks, as near to cubes as they go, of at most `COMPUTE_CHUNK_BYTES` if one fits."""
    sizes = [min(c, n) for c, n in zip(chunks, shape, strict=True)]
    while True:
        growing = [i for i, (c, n) in enumerate(zip(sizes, shape, strict=True)) if c < n]
        smallest = min(growing, key=lambda i: sizes[i], default=None)
        if smallest is None:
            return tuple(sizes)
        larger = [min(2 * c, n) if i == smallest else c for i, (c, n) in enumerate(zip(sizes, shape, strict=True))]
        if math.prod(larger) * itemsize > COMPUTE_CHUNK_BYTES:
            return tuple(sizes)
        sizes = larger
