from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest

from pipeline.errors import ReadError, VolumeError
from pipeline.formats import open_source
from pipeline.formats.handles import HANDLES, close_handles
from tests.pipeline.formats.contract import Array, ChunkedContract, VolumeContract, make_array, read_whole

ARRAY = make_array((6, 7, 8), "<u2")


class TestChunked(ChunkedContract):
    def write(self, path: Path, array: Array) -> Path:
        with h5py.File(path / "v.h5", "w") as file:
            file.create_dataset("group/data", data=array, chunks=(5, 6, 7), compression="gzip")
        return path / "v.h5"

    def write_sparse(self, path: Path) -> tuple[Path, Array]:
        expected = np.full(self.shape, 7, "u1")
        expected[:5, :6, :7] = 1
        with h5py.File(path / "v.h5", "w") as file:
            data = file.create_dataset("data", self.shape, "u1", chunks=(5, 6, 7), fillvalue=7)
            data[:5, :6, :7] = 1
        return path / "v.h5", expected


class TestContiguous(VolumeContract):
    def write(self, path: Path, array: Array) -> Path:
        with h5py.File(path / "v.hdf5", "w") as file:
            file["data"] = array
        return path / "v.hdf5"


def write(folder: Path, **datasets: Any) -> Path:
    with h5py.File(folder / "v.h5", "w") as file:
        for name, data in datasets.items():
            file[name] = data
    return folder / "v.h5"


def set_tags(path: Path, keys: str, **resolution: float) -> None:
    axes = [{"key": key, "typeFlags": 2, "resolution": resolution.get(key, 0), "description": ""} for key in keys]
    with h5py.File(path, "a") as file:
        file["raw"].attrs["axistags"] = json.dumps({"axes": axes})


def test_axistags_give_axes_and_spacing(tmp_path: Path) -> None:
    path = write(tmp_path, raw=ARRAY)
    set_tags(path, "xzc", z=2.5)
    source = open_source(path)
    assert source.axes == "xzc"
    assert source.spacing == {"z": 2.5}


def test_dimension_labels_give_axes(tmp_path: Path) -> None:
    path = write(tmp_path, raw=ARRAY)
    with h5py.File(path, "a") as file:
        for dimension, label in zip(file["raw"].dims, "tyx", strict=True):
            dimension.label = label
    assert open_source(path).axes == "tyx"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"axes": [{"key": "?"}]}', "[" * 100_000, b"\xff", 5], ids=str)
def test_unreadable_axistags_count_as_absent(tmp_path: Path, text: Any) -> None:
    path = write(tmp_path, raw=ARRAY)
    with h5py.File(path, "a", track_order=True) as file:
        file["raw"].attrs["axistags"] = text[:60_000] if isinstance(text, str) else text
    assert open_source(path).axes is None


def test_dataset_is_found_among_vectors_and_groups(tmp_path: Path) -> None:
    path = write(tmp_path, **{"a/volume": ARRAY, "a/table": np.zeros(9), "scalar": 3, "text": "x"})
    assert open_source(path).url.endswith("v.h5/a/volume")


def test_dataset_is_named_apart_or_in_the_path(tmp_path: Path) -> None:
    path = write(tmp_path, **{"a/one": ARRAY, "a/two": ARRAY + 1})
    np.testing.assert_array_equal(read_whole(open_source(path, "a/two")), ARRAY + 1)
    np.testing.assert_array_equal(read_whole(open_source(path / "a/two")), ARRAY + 1)
    np.testing.assert_array_equal(read_whole(open_source(path / "a", "/two")), ARRAY + 1)


@pytest.mark.parametrize("name", [None, "nope", "a", "a/one/below"])
def test_wrong_dataset_lists_those_that_are_there(tmp_path: Path, name: str | None) -> None:
    path = write(tmp_path, **{"a/one": ARRAY, "two": ARRAY})
    with pytest.raises(VolumeError, match=r"a/one uint16 \(6, 7, 8\); two uint16"):
        open_source(path, name)


def test_group_that_holds_itself_is_searched_once(tmp_path: Path) -> None:
    path = write(tmp_path, **{"a/raw": ARRAY})
    with h5py.File(path, "a") as file:
        file["a/again"] = file["a"]
    assert open_source(path).url.endswith("v.h5/a/raw")


def test_file_without_arrays_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="no dataset of two or more dimensions"):
        open_source(write(tmp_path, line=np.zeros(4)))


@pytest.mark.parametrize("kind", ["soft", "external", "soft group", "storage", "virtual"])
def test_nothing_is_followed_out_of_the_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other", raw=ARRAY)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_group("real")
        if kind.startswith("soft"):
            file["linked"] = h5py.SoftLink("/real")
        elif kind == "external":
            file["linked"] = h5py.ExternalLink(str(other), "raw")
        elif kind == "storage":
            file.create_dataset("linked", (2, 8), "u1", external=str(other))
        else:
            layout = h5py.VirtualLayout(ARRAY.shape, ARRAY.dtype)
            layout[...] = h5py.VirtualSource(other, "raw", ARRAY.shape)
            file.create_virtual_dataset("linked", layout)
    with pytest.raises(VolumeError, match="only data of the file itself is read"):
        open_source(tmp_path / "v.h5", "linked/raw" if kind == "soft group" else "linked")


@pytest.mark.parametrize(
    "data", [np.zeros((2, 2), "c8"), np.full((2, 2), b"abc"), np.zeros((2, 2), [("a", "u1")]), h5py.Empty("f4")]
)
def test_what_is_no_number_is_refused(tmp_path: Path, data: Any) -> None:
    with pytest.raises(VolumeError, match=r"v\.h5/raw"):
        open_source(write(tmp_path, raw=data), "raw")


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"plain text"], ids=repr)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.h5").write_bytes(content)
    with pytest.raises(VolumeError, match=r"v\.h5: not a readable HDF5 file"):
        open_source(tmp_path / "v.h5")


def test_damaged_chunk_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as file:
        data = file.create_dataset("raw", data=ARRAY, chunks=(3, 7, 4), compression="gzip")
        chunk = data.id.get_chunk_info_by_coord((3, 0, 4))
    with open(tmp_path / "v.h5", "r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * chunk.size)
    source = open_source(tmp_path / "v.h5")
    np.testing.assert_array_equal(source.read((0, 0, 0), (3, 7, 8)), ARRAY[:3])
    with pytest.raises(ReadError, match=r"chunk \(1, 0, 1\) at \[3:6, 0:7, 4:8\] is damaged"):
        read_whole(source)


def test_rewritten_file_is_read_anew_though_it_was_open(tmp_path: Path) -> None:
    path = write(tmp_path, raw=ARRAY)
    read_whole(open_source(path))
    (tmp_path / "next").mkdir()
    write(tmp_path / "next", raw=ARRAY + 9).replace(path)
    np.testing.assert_array_equal(read_whole(open_source(path)), ARRAY + 9)


@pytest.mark.usefixtures("no_leaks")
def test_open_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HANDLES, "_limit", lambda: 2)
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        read_whole(open_source(write(tmp_path / str(number), raw=ARRAY)))
    assert len([file for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))]) == 2
    close_handles()


@pytest.mark.parametrize(
    ("sizes", "axes", "expected"),
    [
        ([2.0, 0.5, 0.25], "zyx", {"z": 2.0, "y": 0.5, "x": 0.25}),
        ([2.0, 0.5, 0.25], "xyz", {"z": 2.0, "y": 0.5, "x": 0.25}),  # always z, y, x, whatever the order of the data
        ([0.5, 0.25], "cyx", {"y": 0.5, "x": 0.25}),
        ([0.5], "zyx", {}),
        ([0.0, 1.0, 1.0], "zyx", {}),
        ("small", "zyx", {}),
    ],
)
def test_size_of_voxels_in_micrometres(tmp_path: Path, sizes: Any, axes: str, expected: dict[str, float]) -> None:
    path = write(tmp_path, raw=ARRAY)
    set_tags(path, axes)
    with h5py.File(path, "a") as file:
        file["raw"].attrs["element_size_um"] = sizes
    source = open_source(path)
    assert source.spacing == expected
    assert source.units == dict.fromkeys(expected, "micrometer")


def test_size_in_micrometres_goes_before_one_without_a_unit(tmp_path: Path) -> None:
    path = write(tmp_path, raw=ARRAY)
    set_tags(path, "tyx", t=3.0, y=500.0, x=250.0)
    with h5py.File(path, "a") as file:
        file["raw"].attrs["element_size_um"] = [0.5, 0.25]
    assert open_source(path).spacing == {"t": 3.0, "y": 0.5, "x": 0.25}
