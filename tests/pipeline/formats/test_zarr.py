from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
import pytest
import zarr

from pipeline.errors import ReadError, VolumeError
from pipeline.formats import open_source
from pipeline.formats.handles import close_handles
from pipeline.volume import open_raw
from tests.pipeline.formats.contract import Array, ChunkedContract, make_array, read_whole

ARRAY = make_array((6, 7, 8), "<u2")
CHUNKS = (5, 6, 7)


class TestVersion3(ChunkedContract):
    version: Any = 3
    options: ClassVar[dict[str, Any]] = {}

    def write(self, path: Path, array: Array) -> Path:
        chunks = CHUNKS if array.shape == self.shape else (64, 64, 64)
        zarr.create_array(
            path / "v.zarr", data=array, chunks=chunks, zarr_format=self.version, overwrite=True, **self.options
        )
        return path / "v.zarr"

    def write_sparse(self, path: Path) -> tuple[Path, Array]:
        expected = np.full(self.shape, 7, "u1")
        expected[:5, :6, :7] = 1
        array = zarr.create_array(
            path / "v.zarr", shape=self.shape, chunks=CHUNKS, dtype="u1", fill_value=7, zarr_format=self.version
        )
        array[:5, :6, :7] = 1
        return path / "v.zarr", expected

    def damage(self, path: Path) -> None:
        chunk = next(p for p in path.rglob("*") if p.is_file() and p.name not in ("zarr.json", ".zarray", ".zattrs"))
        os.truncate(chunk, os.path.getsize(chunk) // 2)

    def document(self, path: Path) -> Path:
        return path / "zarr.json"


class TestVersion3Raw(TestVersion3):
    options: ClassVar[dict[str, Any]] = {"compressors": None}


class TestVersion3Sharded(TestVersion3):
    large: tuple[int, ...] = (20, 120, 140)

    def write(self, path: Path, array: Array) -> Path:
        zarr.create_array(path / "v.zarr", data=array, chunks=(5, 6, 7), shards=(10, 12, 14), overwrite=True)
        return path / "v.zarr"


class TestVersion2(TestVersion3):
    version = 2

    def document(self, path: Path) -> Path:
        return path / ".zarray"


class TestVersion2Fortran(TestVersion2):
    options: ClassVar[dict[str, Any]] = {
        "order": "F",
        "chunk_key_encoding": {"name": "v2", "separator": "/"},
        "compressors": None,
    }


def write_image(path: Path, version: Any, axes: list[Any] | None = None, arrays: tuple[Array, ...] = (ARRAY,)) -> Path:
    """An OME-Zarr image of these levels."""
    group = zarr.create_group(path, zarr_format=version, overwrite=True)
    datasets = []
    for number, array in enumerate(arrays):
        group.create_array(str(number), data=array, chunks=CHUNKS)
        scale = [3.0 * 2**number] + [0.5 * 2**number] * (array.ndim - 1)
        datasets.append({"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    axes = axes or [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    scales = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    group.attrs.update({"multiscales": scales} if version == 2 else {"ome": {"version": "0.5", "multiscales": scales}})
    return path


both = pytest.mark.parametrize("version", [2, 3])


@both
@pytest.mark.parametrize(("inside", "options"), [("", {"level": 1}), ("1", {}), ("", {"dataset": "1"})], ids=str)
def test_level_is_an_option_or_a_path(tmp_path: Path, version: int, inside: str, options: dict[str, Any]) -> None:
    path = write_image(tmp_path / "v.zarr", version, arrays=(ARRAY, ARRAY[::2, ::2, ::2]))
    source = open_source(path / inside, **options)
    np.testing.assert_array_equal(read_whole(source), ARRAY[::2, ::2, ::2])
    assert source.axes == "zyx"
    assert source.spacing == {"z": 6.0, "y": 1.0, "x": 1.0}
    assert source.units == dict.fromkeys("zyx", "micrometer")


@both
def test_channel_and_time_axes_may_be_named_by_type(tmp_path: Path, version: int) -> None:
    axes = [{"name": "channel", "type": "channel"}, {"name": "Y"}, {"name": "x", "type": "space"}]
    assert open_source(write_image(tmp_path / "v.zarr", version, axes)).axes == "cyx"


def test_axes_may_be_words_as_in_version_03(tmp_path: Path) -> None:
    assert open_source(write_image(tmp_path / "v.zarr", 2, ["t", "y", "x"])).axes == "tyx"


def test_scale_of_the_whole_image_multiplies(tmp_path: Path) -> None:
    path = write_image(tmp_path / "v.zarr", 2)
    group = zarr.open_group(path, mode="a", zarr_format=2)
    scales: Any = group.attrs["multiscales"]
    scales[0]["coordinateTransformations"] = [{"type": "scale", "scale": [1, 2, 2]}]
    group.attrs["multiscales"] = scales
    assert open_source(path).spacing == {"z": 3.0, "y": 1.0, "x": 1.0}


def test_dimension_names_give_axes(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, dimension_names=("c", "y", "x"))
    assert open_source(tmp_path / "v.zarr").axes == "cyx"


@pytest.mark.parametrize(("names", "axes"), [(["t", "y", "x"], "tyx"), (["time", "lat", "lon"], None), ("zyx", None)])
def test_array_dimensions_of_xarray_give_axes(tmp_path: Path, names: Any, axes: str | None) -> None:
    array = zarr.create_array(tmp_path / "v.zarr", data=ARRAY, zarr_format=2)
    array.attrs["_ARRAY_DIMENSIONS"] = names
    assert open_source(tmp_path / "v.zarr").axes == axes


@both
def test_group_with_one_array_needs_no_name(tmp_path: Path, version: Any) -> None:
    group = zarr.create_group(tmp_path / "v.zarr", zarr_format=version)
    group.create_array("deep/er/raw", data=ARRAY)
    group.create_array("x", data=np.zeros(8))
    assert open_source(tmp_path / "v.zarr").url.endswith("v.zarr/deep/er/raw")


@both
def test_group_with_several_arrays_lists_them(tmp_path: Path, version: Any) -> None:
    group = zarr.create_group(tmp_path / "v.zarr", zarr_format=version)
    group.create_array("one", data=ARRAY)
    group.create_array("two", data=ARRAY)
    with pytest.raises(VolumeError, match=r"one .* \(6, 7, 8\); two .*choose one with dataset="):
        open_source(tmp_path / "v.zarr")
    with pytest.raises(VolumeError, match=r"at 'three'; it holds one"):
        open_source(tmp_path / "v.zarr", "three")
    assert open_source(tmp_path / "v.zarr", "two").shape == ARRAY.shape


def test_one_series_of_bioformats2raw_is_taken(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "v.zarr", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    write_image(tmp_path / "v.zarr" / "0", 2, arrays=(ARRAY, ARRAY[::2]))
    assert open_source(tmp_path / "v.zarr", level=1).shape == (3, 7, 8)


@pytest.mark.parametrize(("inside", "level"), [("", 2), ("", -1), ("0", 1)])
def test_level_that_is_not_there_is_refused(tmp_path: Path, inside: str, level: int) -> None:
    path = write_image(tmp_path / "v.zarr", 3, arrays=(ARRAY, ARRAY[::2]))
    with pytest.raises(VolumeError, match=f"level {level}"):
        open_source(path / inside, level=level)


def test_folder_without_suffix_is_known_by_its_documents(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "plain", data=ARRAY)
    np.testing.assert_array_equal(read_whole(open_source(tmp_path / "plain")), ARRAY)


def test_store_behind_a_url(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/v.zarr"
    zarr.create_group(url).create_array("a", data=ARRAY, chunks=CHUNKS)
    np.testing.assert_array_equal(read_whole(open_source(f"{url}/a")), ARRAY)
    np.testing.assert_array_equal(read_whole(open_source(url)), ARRAY)


def test_store_behind_a_url_that_vanishes_is_a_read_error(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/v.zarr"
    zarr.create_array(url, data=ARRAY, chunks=CHUNKS)
    source = open_source(url)
    read_whole(source)
    zarr.storage.FsspecStore.from_url(url).fs.sync_fs.rm(f"/{tmp_path.name}/v.zarr", recursive=True)
    with pytest.raises(ReadError, match="is gone"):
        read_whole(source)


def chunk_of(path: Path) -> Path:
    return next(p for p in path.rglob("1.1.1" if (path / ".zarray").exists() else "1/1/1") if p.is_file())


@pytest.mark.parametrize("codec", ["blosc", "zstd", "gzip", None])
@both
def test_cut_chunk_is_named(tmp_path: Path, version: Any, codec: str | None) -> None:
    named: Any = {"id": codec} if version == 2 else {"name": codec, "configuration": {}}
    compressors = None if codec is None else named
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=(3, 3, 3), compressors=compressors, zarr_format=version)
    chunk = chunk_of(tmp_path / "v.zarr")
    os.truncate(chunk, os.path.getsize(chunk) - 8)
    source = open_source(tmp_path / "v.zarr")
    np.testing.assert_array_equal(source.read((0, 0, 0), (3, 7, 8)), ARRAY[:3])
    with pytest.raises(ReadError, match=r"v\.zarr.*1[.,/] ?1[.,/] ?1.*(damaged|cut off)"):
        read_whole(source)


READ_DAMAGED = """
import sys
from pipeline.errors import ReadError
from pipeline.volume import open_raw
try:
    open_raw(sys.argv[1], axes="zyx")[...]
except ReadError as error:
    print(error)
"""


def test_read_error_leaves_nothing_else_on_the_terminal(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "v.zarr", data=make_array((20, 20, 20), "u1"), chunks=(2, 2, 2))
    os.truncate(chunk_of(tmp_path / "v.zarr"), 3)
    command = [sys.executable, "-c", READ_DAMAGED, str(tmp_path / "v.zarr")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "chunk (1, 1, 1)" in done.stdout
    assert done.stderr == ""


@both
def test_chunk_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path, version: Any) -> None:
    (tmp_path / "secret").write_bytes(bytes(1000))
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=(3, 3, 3), zarr_format=version)
    chunk = chunk_of(tmp_path / "v.zarr")
    chunk.unlink()
    chunk.symlink_to(tmp_path / "secret")
    with pytest.raises(VolumeError, match="leads out of the folder"):
        read_whole(open_source(tmp_path / "v.zarr"))


def test_document_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY)
    shutil.move(tmp_path / "v.zarr" / "zarr.json", tmp_path / "zarr.json")
    (tmp_path / "v.zarr" / "zarr.json").symlink_to(tmp_path / "zarr.json")
    with pytest.raises(VolumeError, match="leads out of the folder"):
        open_source(tmp_path / "v.zarr")


def test_level_outside_the_folder_is_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "other", data=ARRAY)
    path = write_image(tmp_path / "v.zarr", 3)
    group = zarr.open_group(path, mode="a")
    group.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "../other"}]}]}
    with pytest.raises(VolumeError, match="leads out of the folder"):
        open_source(path)


def test_link_to_a_store_is_followed_since_the_caller_named_it(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "real.zarr", data=ARRAY)
    (tmp_path / "link.zarr").symlink_to(tmp_path / "real.zarr")
    np.testing.assert_array_equal(read_whole(open_source(tmp_path / "link.zarr")), ARRAY)


@pytest.mark.usefixtures("no_leaks")
def test_1_tb_is_opened_and_sliced_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "v.zarr"
    array = zarr.create_array(path, shape=(10_000,) * 3, chunks=(64, 64, 64), dtype="u1", fill_value=3)
    array[8000:8064, 9984:, :64] = 5
    read_whole(open_source(write_image(tmp_path / "warm.zarr", 3)))  # imports are not what is counted
    process = psutil.Process()
    read, resident = process.io_counters().read_chars, process.memory_info().rss
    raw = open_raw(path, axes="zyx")
    assert raw.shape == (10_000,) * 3
    plane = raw[8001, -512:, :512]
    assert plane[-1, 0] == 5
    assert plane[0, 0] == 3
    assert process.io_counters().read_chars - read < 1_000_000
    assert process.memory_info().rss - resident < 100_000_000
    close_handles()
