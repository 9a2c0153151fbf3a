"""The channels of a volume by name, each a volume of its own that is read box by box."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from pipeline.analyses.sources import PartSource, wrap_array
from pipeline.axes import ORDER
from pipeline.blocks import AXES, Box
from pipeline.errors import ChannelError
from pipeline.formats.source import fingerprint_of
from pipeline.volume import Volume, open_raw, volume_of

if TYPE_CHECKING:
    import xarray

Zyx = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class ChannelSet(Mapping[str, Volume]):
    """Channels by name, in their order; frozen, and small to pickle where they lie in files or an archive.

    Parameters
    ----------
    volumes : mapping of str to Volume
        At least one; each has one channel and one time step, and all have one shape.
    origin_zyx : tuple of int
        Place of the first voxel in what the volume was cut from: counts for positions, not for results.

    Raises
    ------
    ChannelError
        If they are none, have several channels or time steps, or different shapes.
    """

    volumes: Mapping[str, Volume] = field(repr=False)
    origin_zyx: Zyx = (0, 0, 0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "volumes", dict(self.volumes))
        if not self.volumes:
            raise ChannelError("no channels were given; at least one is needed", code="channels")
        first, *_ = self.volumes.items()
        for name, volume in self.volumes.items():
            shape = volume.whole.shape
            if volume.n_channels != 1 or shape[0] != 1:
                counted = f"{volume.n_channels} channels and {shape[0]} time steps"
                raise ChannelError(f"{name} ({volume.url}) has {counted}; a channel has one of both", code="channels")
            if shape != first[1].whole.shape:
                ours, theirs = ("x".join(map(str, v.whole.shape[1:])) for v in (volume, first[1]))
                text = f"channel {name} has {ours} voxels along z, y, x, channel {first[0]} has {theirs}"
                raise ChannelError(f"{text}; all must have the same", code="shape")

    @classmethod
    def of(cls, data: Any, *, origin_zyx: Sequence[int] = (0, 0, 0)) -> ChannelSet:
        """Channels of whatever holds some.

        Parameters
        ----------
        data : ChannelSet, Volume, xarray.DataArray, path, or mapping of str to Volume, DataArray, ndarray or path
            A volume with an axis c gives its channels under their names, or else their numbers; a mapping gives one
            for each of its items. Plain arrays are (z, y, x).
        origin_zyx : sequence of int

        Raises
        ------
        ChannelError, VolumeError
            If there are no such channels, or two of one name.
        """
        if isinstance(data, ChannelSet):
            return data
        z, y, x = (int(n) for n in origin_zyx)
        if isinstance(data, Mapping):
            volumes: dict[str, Volume] = {}
            for name, value in data.items():
                whole = _volume(value)
                volumes[str(name)] = _single(whole) if whole.n_channels == 1 else whole
            return cls(volumes, (z, y, x))
        return cls(_split(_volume(data)), (z, y, x))

    @property
    def shape_zyx(self) -> Zyx:
        """Voxels along z, y and x."""
        _, z, y, x = self._first.whole.shape
        return z, y, x

    @property
    def whole(self) -> Box:
        """All of it."""
        return self._first.whole

    @property
    def spacing(self) -> dict[str, float]:
        """Voxel size by axis of the first channel that knows it."""
        return next((dict(v.spacing) for v in self.volumes.values() if v.spacing), {})

    @property
    def units(self) -> dict[str, str]:
        """Units of `spacing`."""
        return next((dict(v.units) for v in self.volumes.values() if v.spacing), {})

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over names, order and voxels; not over where the volume was cut from."""
        return fingerprint_of("channels", *((name, volume.digest) for name, volume in self.volumes.items()))

    @property
    def urls(self) -> dict[str, str]:
        """Where each channel lies, for people."""
        return {name: volume.url for name, volume in self.volumes.items()}

    @property
    def paths(self) -> tuple[str, ...]:
        """Files and folders that are read."""
        return tuple(dict.fromkeys(_path_of(volume) for volume in self.volumes.values()))

    def read(self, name: str, box: Box) -> npt.NDArray[Any]:
        """Voxels of a box of one channel, (z, y, x).

        Raises
        ------
        ReadError
            If the data is damaged or gone.
        """
        return self.volumes[name].read(box)[0, 0]

    def pick(self, names: Sequence[str]) -> ChannelSet:
        """These channels alone, in this order.

        Raises
        ------
        ChannelError
            If there is none of a name, listing what there is.
        """
        for name in names:
            if name not in self.volumes:
                raise ChannelError(f"there is no channel {name!r}; there are {', '.join(self)}", code="channels")
        return ChannelSet({name: self.volumes[name] for name in names}, self.origin_zyx)

    def rename(self, names: Sequence[str]) -> ChannelSet:
        """The same channels under these names, in their order.

        Raises
        ------
        ChannelError
            If there are not as many names as channels, or two are the same.
        """
        if len(names) != len(self) or len(set(names)) != len(names) or not all(names):
            given = ", ".join(names)
            raise ChannelError(f"{given}: wanted are {len(self)} different names of channels", code="channels")
        return ChannelSet(dict(zip(names, self.volumes.values(), strict=True)), self.origin_zyx)

    def cut(self, region: Box) -> ChannelSet:
        """A part of the volume as a volume of its own, with borders.

        Parameters
        ----------
        region : Box
            Inside `whole`.
        """
        if region == self.whole:
            return self
        z, y, x = (a + b for a, b in zip(self.origin_zyx, region.start[1:], strict=True))
        return ChannelSet({name: _part(volume, region) for name, volume in self.volumes.items()}, (z, y, x))

    def __getitem__(self, name: str) -> Volume:
        return self.volumes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.volumes)

    def __len__(self) -> int:
        return len(self.volumes)

    def __repr__(self) -> str:
        z, y, x = self.shape_zyx
        return f"<ChannelSet {', '.join(self)} z={z} y={y} x={x}>"

    @property
    def _first(self) -> Volume:
        return next(iter(self.volumes.values()))


def _path_of(volume: Volume) -> str:
    source = volume.source
    while isinstance(source, PartSource):
        source = source.source
    return source.url


def _volume(data: Any) -> Volume:
    """A volume of what was given."""
    import xarray

    if isinstance(data, Volume):
        return data
    if isinstance(data, str | os.PathLike):
        return open_raw(data)
    if isinstance(data, xarray.DataArray):
        return volume_of(data) or _of_labelled(data)
    if hasattr(data, "shape") and len(data.shape) == 3:
        return Volume(wrap_array(data, "zyx"), "zyx")
    given = f"{type(data).__name__} of shape {data.shape}" if hasattr(data, "shape") else type(data).__name__
    raise ChannelError(
        f"{given} was given as channels; wanted is a volume, an xarray.DataArray, or a mapping of names to those or to "
        "arrays of z, y, x",
        code="channels",
    )


def _of_labelled(array: xarray.DataArray) -> Volume:
    axes = "".join(str(d) for d in array.dims)
    if len(axes) != array.ndim or not {"y", "x"} <= set(axes) <= set(ORDER):
        raise ChannelError(f"dims {', '.join(map(str, array.dims))}; allowed are t, c, z, y, x", code="axes")
    named = "c" in array.coords and array.coords["c"].dtype.kind in "UO"
    names = [str(name) for name in array.coords["c"].values] if named else []
    about = {key: array.attrs.get(key) for key in ("spacing", "units")}
    return Volume(wrap_array(array.data, axes, channel_names=names, **about), axes)


def _split(volume: Volume) -> dict[str, Volume]:
    """Each channel of a volume under its name."""
    names = volume.channel_names or tuple(map(str, range(volume.n_channels)))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ChannelError(f"{volume.url} has several channels of the name {twice[0]}", code="channels")
    return {name: _channel(volume, number, name) for number, name in enumerate(names)}


def _single(volume: Volume) -> Volume:
    return _channel(volume, 0, "") if "c" in volume.dims else volume


def _channel(volume: Volume, number: int, name: str) -> Volume:
    if "c" not in volume.dims:
        return volume
    return _box(volume, volume.whole, (number, number + 1), f", channel {name}" if name else "")


def _part(volume: Volume, region: Box) -> Volume:
    return _box(volume, region, None, "")


def _box(volume: Volume, region: Box, channel: tuple[int, int] | None, label: str) -> Volume:
    """A part of a volume; one channel of it loses the axis c."""
    ends = dict(zip(AXES, zip(region.start, region.stop, strict=True), strict=True))
    ends["c"] = channel or (0, volume.n_channels)
    start, stop = ([ends[axis][end] for axis in volume.source_axes] for end in (0, 1))
    dropped = "c" if channel is not None else ""
    source = PartSource(volume.source, volume.source_axes, tuple(start), tuple(stop), dropped, label)
    return Volume(source, source.axes, volume.axes_reason, volume.version)
