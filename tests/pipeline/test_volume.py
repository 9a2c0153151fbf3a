from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from pipeline import volume
from pipeline.axes import ORDER, AxesGuessedWarning, reorder
from pipeline.blocks import Box
from pipeline.errors import VolumeError
from pipeline.formats.handles import close_handles
from pipeline.formats.source import ArraySource
from pipeline.volume import Volume, open_raw, open_volume, volume_of

Array = npt.NDArray[Any]
DTYPES = ["?", "u1", "i1", "<u2", ">u2", "<i4", ">u8", "<f4", ">f8"]


def make_array(shape: Sequence[int], dtype: str = "u2") -> Array:
    return np.random.default_rng(5).integers(0, 2 if dtype == "?" else 100, shape).astype(dtype)


def write(folder: Path, kind: str, array: Array, chunks: tuple[int, ...]) -> Path:
    path = folder / f"v.{kind[:4].rstrip('23')}"
    if kind == "npy":
        np.save(path, array)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("raw", data=array, chunks=chunks)
    else:
        path = folder / "v.zarr"
        version: Any = int(kind[-1])
        zarr.create_array(path, data=array, chunks=chunks, zarr_format=version)
    return path


class CountingSource(ArraySource):
    """Zeros; writes down which boxes were read."""

    def fetch(self, box: tuple[slice, ...]) -> Array:
        READ.append(tuple((s.start, s.stop) for s in box))
        return np.zeros([s.stop - s.start for s in box], self.dtype)


READ: list[tuple[tuple[int, int], ...]] = []


def counting_volume(shape: tuple[int, ...], axes: str, chunks: tuple[int, ...]) -> Volume:
    READ.clear()
    source = CountingSource(url="zeros", shape=shape, dtype=np.dtype("u2"), chunks=chunks, fingerprint=str(shape))
    return Volume(source, axes)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    letters = draw(st.permutations(ORDER))
    axes = "".join(letters[: draw(st.integers(2, 5))])
    shape = tuple(draw(st.integers(1, 7)) for _ in axes)
    ends = {a: sorted((draw(st.integers(0, n)), draw(st.integers(0, n)))) for a, n in zip(axes, shape, strict=True)}
    return {
        "axes": axes,
        "shape": shape,
        "chunks": tuple(draw(st.integers(1, n)) for n in shape),
        "dtype": draw(st.sampled_from(DTYPES)),
        "kind": draw(st.sampled_from(["npy", "h5", "zarr2", "zarr3"])),
        "box": [ends.get(a, (0, 1)) for a in "tzyx"],
    }


@given(case=cases())
def test_any_axes_chunks_dtype_and_box_read_as_numpy_transposes(
    tmp_path_factory: pytest.TempPathFactory, case: dict[str, Any]
) -> None:
    array = make_array(case["shape"], case["dtype"])
    path = write(tmp_path_factory.mktemp("v"), case["kind"], array, case["chunks"])
    opened = open_raw(path, axes=case["axes"])
    box = Box(*zip(*case["box"], strict=True))
    t, z, y, x = box.slices()
    expected = reorder(array, case["axes"], ORDER)[t, :, z, y, x]
    found = opened.read(box)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(open_volume(path, axes=case["axes"]), reorder(array, case["axes"], opened.dims))
    close_handles()


@pytest.mark.parametrize("axes", ["yx", "zyx", "yxc", "tzyxc", "xyc", "czyx", "xt"])
def test_dims_come_in_ome_order(tmp_path: Path, axes: str) -> None:
    array = make_array(range(3, 3 + len(axes)))
    raw = open_volume(write(tmp_path, "npy", array, ()), axes=axes)
    assert raw.dims == tuple(a for a in ORDER if a in axes)
    assert dict(raw.sizes) == dict(zip(axes, array.shape, strict=True))
    np.testing.assert_array_equal(raw.transpose(*axes), array)


def test_guessed_axes_warn_at_the_caller_and_say_what_was_taken(tmp_path: Path) -> None:
    path = write(tmp_path, "npy", make_array((4, 5, 6)), ())
    for opener in (open_raw, open_volume):
        with pytest.warns(AxesGuessedWarning, match=r"v\.npy: axes zyx .*guessed from the shape") as caught:
            opener(path)
        assert caught[0].filename == __file__


def test_projects_axes_are_taken_if_they_fit(tmp_path: Path) -> None:
    path = write(tmp_path, "npy", make_array((4, 5, 6)), ())
    with pytest.warns(AxesGuessedWarning, match="as the project was trained"):
        assert open_raw(path, project_axes="tyx").dims == "tyx"


def test_contradiction_names_the_file_and_both_sides(tmp_path: Path) -> None:
    path = write(tmp_path, "npy", make_array((4, 5, 6)), ())
    with pytest.raises(VolumeError, match=r"v\.npy: the axes given are 'yx'.*shape \(4, 5, 6\).*\[axes\]$"):
        open_raw(path, axes="yx")


def write_tagged(folder: Path) -> Path:
    path = write(folder, "h5", make_array((4, 5, 6)), (2, 2, 2))
    with h5py.File(path, "a") as file:
        tags = [{"key": key, "resolution": number + 1} for number, key in enumerate("zyx")]
        file["raw"].attrs["axistags"] = json.dumps({"axes": tags})
    return path


def test_spacing_follows_its_dimension_when_the_caller_renames_it(tmp_path: Path) -> None:
    path = write_tagged(tmp_path)
    assert open_raw(path).spacing == {"z": 1.0, "y": 2.0, "x": 3.0}
    assert open_raw(path, axes="xyt").spacing == {"x": 1.0, "y": 2.0, "t": 3.0}


@pytest.mark.parametrize(("names", "coordinate"), [(("a", "b"), ["a", "b"]), (("a", "a"), None), (("a",), None)])
def test_channels_are_chosen_by_name_where_there_is_one_for_each(
    names: tuple[str, ...], coordinate: list[str] | None
) -> None:
    source = CountingSource(
        url="v",
        shape=(2, 4, 6),
        chunks=(1, 4, 6),
        dtype=np.dtype("u1"),
        axes="cyx",
        fingerprint="",
        channel_names=names,
    )
    array = volume.as_array(Volume(source, "cyx", "its own", None))
    assert (list(array.coords["c"].values) if "c" in array.coords else None) == coordinate
    if coordinate:
        assert array.sel(c="b").dims == ("y", "x")


def test_array_carries_spacing_and_the_volume(tmp_path: Path) -> None:
    raw = open_volume(write_tagged(tmp_path))
    assert raw.attrs == {"spacing": {"z": 1.0, "y": 2.0, "x": 3.0}}
    assert volume_of(raw) == raw.encoding["volume"]


@pytest.mark.parametrize("box", [Box((0, 0, 0, 0), (1, 4, 5, 7)), Box((0, -1, 0, 0), (1, 4, 5, 6))])
def test_box_outside_is_refused(tmp_path: Path, box: Box) -> None:
    with pytest.raises(VolumeError, match=r"does not lie inside t=0:1,z=0:4,y=0:5,x=0:6"):
        open_raw(write_tagged(tmp_path)).read(box)


def test_digest_tells_data_axes_and_version_apart(tmp_path: Path) -> None:
    path = write_tagged(tmp_path)
    variants = [open_raw(path), open_raw(path, axes="tyx"), open_raw(path, version="2")]
    assert len({v.digest for v in variants}) == len({*variants}) == 3
    assert open_raw(path) == open_raw(path, dataset="raw") == open_raw(path / "raw")


def test_single_voxel_of_a_lazy_array_has_no_dims(tmp_path: Path) -> None:
    np.save(tmp_path / "raw.npy", np.arange(24).reshape(2, 3, 4))
    voxel = open_volume(tmp_path / "raw.npy", axes="zyx")[1, 2, 3].compute()
    assert (voxel.shape, voxel.item()) == ((), 23)


def test_names_of_lazy_arrays_are_the_same_each_time(tmp_path: Path) -> None:
    path = write_tagged(tmp_path)
    assert open_volume(path).data.name == open_volume(path).data.name == f"raw-{open_raw(path).digest}"


def test_volume_of_knows_its_own_array_alone(tmp_path: Path) -> None:
    raw = open_volume(write_tagged(tmp_path))
    changed = [raw[1:], raw + 1, raw.transpose("x", "y", "z"), raw.rename(z="t"), raw.compute(), raw.astype("f4")]
    assert volume_of(raw) is not None
    assert [volume_of(array) for array in changed] == [None] * len(changed)


def test_one_task_a_chunk() -> None:
    raw = volume.as_array(counting_volume((200, 1000, 1200), "zyx", (64, 64, 64)))
    assert len(dict(raw.data.__dask_graph__())) == raw.data.npartitions + 1  # the volume itself is a key


@pytest.mark.parametrize(
    ("axes", "key", "read"),
    [
        ("zyx", (40, slice(0, 512), slice(0, 512)), {((40, 41), (0, 512), (0, 512))}),
        ("xyz", (40, slice(0, 512), slice(0, 512)), {((0, 512), (0, 512), (40, 41))}),
        ("zyx", (slice(3, 5), 7, slice(9, 12)), {((3, 5), (7, 8), (9, 12))}),
    ],
)
def test_slice_reads_no_more_than_itself(axes: str, key: Any, read: set[Any]) -> None:
    raw = volume.as_array(counting_volume((1000, 1000, 1000), axes, (64, 64, 64)))
    assert raw[key].compute(scheduler="sync").shape == raw[key].shape
    merged = tuple((min(b[i][0] for b in READ), max(b[i][1] for b in READ)) for i in range(3))
    assert {merged} == read
    assert sum(np.prod([b - a for a, b in box]) for box in READ) == raw[key].size


@given(shape=st.lists(st.integers(1, 9000), min_size=2, max_size=5), chunk=st.integers(1, 200))
def test_lazy_chunks_are_multiples_of_the_stored_ones_and_bounded(shape: list[int], chunk: int) -> None:
    stored = [min(chunk, n) for n in shape]
    sizes = volume._compute_chunks(shape, stored, 2)
    for size, small, length in zip(sizes, stored, shape, strict=True):
        assert size == length or size % small == 0
    assert np.prod(sizes, dtype=float) * 2 <= volume.COMPUTE_CHUNK_BYTES or list(sizes) == stored


READ_ELSEWHERE = """
import pickle, sys
volume = pickle.load(sys.stdin.buffer)
print(volume.digest, int(volume.read(volume.whole).sum()))
"""


@pytest.mark.parametrize("kind", ["npy", "h5", "zarr2", "zarr3"])
def test_volume_reads_in_another_process(tmp_path: Path, kind: str) -> None:
    array = make_array((4, 5, 6))
    opened = open_raw(write(tmp_path, kind, array, (2, 3, 4)), axes="xyz")
    opened.read(opened.whole)
    command = [sys.executable, "-c", READ_ELSEWHERE]
    done = subprocess.run(command, input=pickle.dumps(opened), capture_output=True, check=True)
    assert done.stdout.decode().split() == [opened.digest, str(array.sum())]
    close_handles()


def test_raw_of_ilastik_opens_with_its_own_axes(ilastik_dir: Path) -> None:
    raw = open_volume(ilastik_dir / "raw.h5")
    with h5py.File(ilastik_dir / "raw.h5") as file:
        np.testing.assert_array_equal(raw, file["exported_data"][()])
    assert raw.dims == ("y", "x")
    close_handles()
