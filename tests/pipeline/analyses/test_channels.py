"""Channels by name, of whatever holds some."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray

from pipeline.analyses.channels import ChannelSet
from pipeline.analyses.pixel_run import stack
from pipeline.blocks import Box
from pipeline.errors import ChannelError, VolumeError
from pipeline.volume import open_raw, open_volume

VALUES = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
NAMES = ("PSD", "synapsin")


def labelled(values: Any = VALUES, **attrs: Any) -> xarray.DataArray:
    return xarray.DataArray(values, dims=list("czyx"), coords={"c": list(NAMES)}, attrs=attrs)


def given(kind: str, folder: Path) -> Any:
    """The same channels in one of many ways."""
    if kind == "mapping of arrays":
        return dict(zip(NAMES, VALUES, strict=True))
    if kind == "lazy":
        return labelled(dask.array.from_array(VALUES, chunks=(1, 2, 3, 2)))
    if kind == "other order":
        return labelled().transpose("z", "y", "x", "c")
    if kind in ("files", "opened"):
        for name, values in zip(NAMES, VALUES, strict=True):
            np.save(folder / f"{name}.npy", values)
        paths = {name: folder / f"{name}.npy" for name in NAMES}
        return {name: open_raw(path, axes="zyx") for name, path in paths.items()} if kind == "files" else {
            name: open_volume(path, axes="zyx") for name, path in paths.items()
        }  # fmt: skip
    return labelled()


@pytest.mark.parametrize("kind", ["labelled", "mapping of arrays", "lazy", "other order", "files", "opened"])
def test_ways_to_give_channels(kind: str, tmp_path: Path) -> None:
    channels = ChannelSet.of(given(kind, tmp_path))
    assert tuple(channels) == NAMES
    assert channels.shape_zyx == (3, 4, 5)
    box = Box((0, 1, 0, 2), (1, 3, 4, 5))
    for name, values in zip(NAMES, VALUES, strict=True):
        assert np.array_equal(channels.read(name, box), values[1:3, :, 2:5])
    part = pickle.loads(pickle.dumps(channels.cut(box)))
    assert (part.shape_zyx, part.origin_zyx) == ((2, 4, 3), (1, 0, 2))
    assert np.array_equal(part.read("synapsin", part.whole), VALUES[1, 1:3, :, 2:5])
    both = stack(part)
    assert np.array_equal(both[...], VALUES[:, 1:3, :, 2:5])
    assert both.channel_names == NAMES


def test_digest_is_of_voxels_names_and_order() -> None:
    channels = ChannelSet.of(labelled())
    assert channels.digest == ChannelSet.of(labelled(VALUES.copy())).digest
    changed = VALUES.copy()
    changed[1, 2, 3, 4] += 1
    others = [
        ChannelSet.of(labelled(changed)),
        channels.pick(("synapsin", "PSD")),
        channels.pick(("PSD",)),
        channels.rename(("PSD", "other")),
        channels.cut(Box((0, 0, 0, 0), (1, 2, 4, 5))),
    ]
    assert len({channels.digest, *(other.digest for other in others)}) == 1 + len(others)


def test_spacing_and_numbers_for_names() -> None:
    channels = ChannelSet.of(labelled(spacing={"z": 2.0, "y": 1.0, "x": 1.0}, units={"z": "nanometer"}))
    assert channels.spacing["z"] == 2
    assert channels.cut(Box((0, 1, 0, 0), (1, 3, 4, 5))).units == {"z": "nanometer"}
    unnamed = ChannelSet.of(xarray.DataArray(VALUES, dims=list("czyx")))
    assert tuple(unnamed) == ("0", "1")


def test_files_are_named_for_those_who_write(tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", VALUES)
    channels = ChannelSet.of(open_raw(tmp_path / "all.npy", axes="czyx")).cut(Box((0, 0, 0, 0), (1, 1, 4, 5)))
    assert channels.paths == (str(tmp_path / "all.npy"),)
    assert channels.urls["1"].endswith("all.npy, channel 1")
    assert len(pickle.dumps(channels)) < 5000


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "no channels were given"),
        ({"a": VALUES[0], "b": VALUES[1, :2]}, "channel b has 2x4x5 voxels along z, y, x, channel a has 3x4x5"),
        ({"a": VALUES}, "ndarray of shape .* was given as channels"),
        ({"a": labelled()}, "2 channels and 1 time steps; a channel has one of both"),
        ({"a": xarray.DataArray(VALUES, dims=list("tzyx"))}, "1 channels and 2 time steps"),
        (xarray.DataArray(VALUES, dims=list("abyx")), "dims a, b, y, x; allowed are"),
        (xarray.DataArray(VALUES, dims=list("czyx"), coords={"c": ["a", "a"]}), "several channels of the name a"),
        (3, "int was given as channels"),
    ],
)
def test_refusals(data: Any, said: str) -> None:
    with pytest.raises(ChannelError, match=said):
        ChannelSet.of(data)


def test_arrays_without_voxels_or_with_other_values_are_refused() -> None:
    with pytest.raises(VolumeError, match="holds no voxels"):
        ChannelSet.of({"a": np.zeros((0, 3, 3), np.uint8)})
    with pytest.raises(VolumeError, match="complex"):
        ChannelSet.of({"a": np.zeros((2, 3, 3), complex)})


def test_names_that_are_not_there() -> None:
    channels = ChannelSet.of(labelled())
    with pytest.raises(ChannelError, match="no channel 'GABA'; there are PSD, synapsin"):
        channels.pick(("GABA",))
    with pytest.raises(ChannelError, match="wanted are 2 different names"):
        channels.rename(("a", "a"))
    mixed = ChannelSet.of({"a": np.zeros((2, 3, 3), np.uint8), "b": np.zeros((2, 3, 3), np.uint16)})
    with pytest.raises(ChannelError, match="a is uint8, b is uint16; a project takes channels of one type"):
        stack(mixed)
