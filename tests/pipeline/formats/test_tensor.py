"""N5 and precomputed volumes that tensorstore writes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore

from pipeline.errors import VolumeError
from pipeline.formats import open_source
from tests.pipeline.formats.contract import Array, VolumeContract, make_array, read_whole
from tests.pipeline.formats.servers import http_server

ARRAY = make_array((6, 7, 8), "u2")
CHUNKS = (5, 6, 7)


def write_n5(path: Path, array: Array, chunks: tuple[int, ...] = CHUNKS, **compression: Any) -> None:
    metadata: dict[str, Any] = {
        "dimensions": array.shape[::-1],
        "blockSize": chunks[::-1],
        "dataType": array.dtype.newbyteorder("=").name,
    }
    metadata["compression"] = compression or {"type": "gzip"}
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}, "metadata": metadata}
    tensorstore.open(spec, create=True, delete_existing=True).result().write(array.T).result()


def write_precomputed(path: Path, array: Array, offset: tuple[int, ...] = (30, 20, 10), **scale: Any) -> None:
    """`array` is zyx or czyx, `offset` zyx."""
    volume = array[np.newaxis] if array.ndim == 3 else array
    name = volume.dtype.newbyteorder("=").name
    about: dict[str, Any] = {"data_type": name, "num_channels": len(volume), "type": "image"}
    size: dict[str, Any] = {"size": volume.shape[:0:-1], "voxel_offset": offset[::-1], "resolution": [4, 4, 40]}
    defaults: dict[str, Any] = {"chunk_size": CHUNKS[::-1], "encoding": "raw"}
    spec: dict[str, Any] = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{path}/"}}
    spec |= {"multiscale_metadata": about, "scale_metadata": {**size, **defaults, **scale}}
    tensorstore.open(spec, create=True).result().write(volume.T).result()


class TestN5(VolumeContract):
    dtypes: tuple[str, ...] = ("u1", "i1", "<u2", "<i4", "<u8", "<f4", "<f8")

    def write(self, path: Path, array: Array) -> Path:
        write_n5(path / "v.n5" / "raw", array, CHUNKS if array.shape == self.shape else (64, 64, 64))
        return path / "v.n5"

    def damage(self, path: Path) -> None:
        os.truncate(path / "raw" / "0" / "0" / "0", 30)

    def document(self, path: Path) -> Path:
        return path / "raw" / "attributes.json"


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "raw", "blosc"])
def test_n5_compressions(tmp_path: Path, kind: str) -> None:
    options: dict[str, Any] = {"cname": "lz4", "clevel": 5, "shuffle": 1} if kind == "blosc" else {}
    write_n5(tmp_path / "v.n5", ARRAY, type=kind, **options)
    np.testing.assert_array_equal(read_whole(open_source(tmp_path / "v.n5")), ARRAY)


@pytest.mark.parametrize("shape", [(9, 11), (3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5, 6)], ids=str)
def test_n5_of_any_number_of_axes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = make_array(shape, "u2")
    write_n5(tmp_path / "v.n5" / "raw", array, (2,) * len(shape))
    np.testing.assert_array_equal(read_whole(open_source(tmp_path / "v.n5")), array)


def set_attributes(path: Path, **attributes: Any) -> None:
    document = path / "attributes.json"
    document.write_text(json.dumps({**json.loads(document.read_text()), **attributes}))


def test_n5_axes_spacing_and_levels(tmp_path: Path) -> None:
    path = tmp_path / "v.n5"
    for level, array in enumerate((ARRAY, ARRAY[::2, ::2, ::2])):
        write_n5(path / "em" / f"s{level}", array)
        set_attributes(path / "em" / f"s{level}", downsamplingFactors=[2**level] * 3)
    (path / "em" / "attributes.json").write_text('{"pixelResolution": {"dimensions": [4, 4, 40.5], "unit": "nm"}}')
    source = open_source(path, level=1)
    np.testing.assert_array_equal(read_whole(source), ARRAY[::2, ::2, ::2])
    assert source.axes == "zyx"
    assert source.spacing == {"z": 81.0, "y": 8.0, "x": 8.0}
    assert source.units == dict.fromkeys("zyx", "nanometer")
    with pytest.raises(VolumeError, match="no level 2 of 'em' inside; it holds em"):
        open_source(path, level=2)


def test_n5_datasets_are_listed_and_chosen(tmp_path: Path) -> None:
    path = tmp_path / "v.n5"
    write_n5(path / "a" / "raw", ARRAY)
    write_n5(path / "b", ARRAY + 1)
    set_attributes(path / "b", axes=["x", "y", "c"])
    with pytest.raises(VolumeError, match="holds b; a/raw; choose one with dataset="):
        open_source(path)
    with pytest.raises(VolumeError, match="no dataset 'c' inside; it holds b; a/raw"):
        open_source(path, "c")
    assert open_source(path / "b").axes == "cyx"
    np.testing.assert_array_equal(read_whole(open_source(path / "a" / "raw")), ARRAY)


@pytest.mark.parametrize("layout", ["n5", "precomputed"])
def test_missing_chunks_hold_zeros_and_links_out_are_refused(tmp_path: Path, layout: str) -> None:
    path = tmp_path / ("v.n5" if layout == "n5" else "v")
    (write_n5 if layout == "n5" else write_precomputed)(path, ARRAY)
    url = str(path) if layout == "n5" else f"precomputed://{path}"
    source = open_source(url)
    chunk = path / ("1/1/1" if layout == "n5" else "4_4_40/17-18_26-27_35-36")
    chunk.rename(tmp_path / "chunk")
    assert source.read((5, 6, 7), (6, 7, 8)).item() == 0
    chunk.symlink_to(tmp_path / "chunk")
    with pytest.raises(VolumeError, match="leads out of the folder"):
        source.read((5, 6, 7), (6, 7, 8))


class TestPrecomputed(TestN5):
    dtypes = ("u1", "<u2", "<u8", "<f4")

    def write(self, path: Path, array: Array) -> Path:
        shutil.rmtree(path / "v", ignore_errors=True)
        write_precomputed(path / "v", array)
        return path / "v"

    def make(self, folder: Path, dtype: str = "u1") -> Any:
        array = make_array(self.shape, dtype)
        return open_source(f"precomputed://{self.write(folder, array)}"), array

    def damage(self, path: Path) -> None:
        os.truncate(path / "4_4_40" / "10-17_20-26_30-35", 30)

    def document(self, path: Path) -> Path:
        return path / "info"


def test_precomputed_channels_offset_and_resolution(tmp_path: Path) -> None:
    array = make_array((2, 6, 7, 8), "u1")
    write_precomputed(tmp_path / "v", array)
    source = open_source(f"precomputed://file://{tmp_path}/v")
    assert source.axes == "czyx"
    assert source.spacing == {"z": 40.0, "y": 4.0, "x": 4.0}
    assert source.units == dict.fromkeys("zyx", "nanometer")
    np.testing.assert_array_equal(read_whole(source), array)
    np.testing.assert_array_equal(source.read((1, 2, 3, 4), (2, 5, 6, 7)), array[1:2, 2:5, 3:6, 4:7])


def test_precomputed_levels(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "v", ARRAY)
    write_precomputed(tmp_path / "v", ARRAY[::2, ::2, ::2], resolution=[8, 8, 80])
    np.testing.assert_array_equal(read_whole(open_source(f"precomputed://{tmp_path}/v", level=1)), ARRAY[::2, ::2, ::2])
    with pytest.raises(VolumeError, match="no level 2; there are 0 to 1"):
        open_source(f"precomputed://{tmp_path}/v", level=2)


@pytest.mark.parametrize("encoding", ["compressed_segmentation", "sharded"])
def test_precomputed_encodings(tmp_path: Path, encoding: str) -> None:
    sharding = {"@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 1, "hash": "identity"}
    sharding |= {"minishard_bits": 1, "shard_bits": 1, "data_encoding": "gzip", "minishard_index_encoding": "gzip"}
    scale: dict[str, Any] = {"encoding": encoding, "compressed_segmentation_block_size": [8, 8, 8]}
    array = ARRAY.astype("u4")
    write_precomputed(tmp_path / "v", array, **({"sharding": sharding} if encoding == "sharded" else scale))
    np.testing.assert_array_equal(read_whole(open_source(f"precomputed://{tmp_path}/v")), array)


def test_behind_a_web_server(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "v", ARRAY)
    write_n5(tmp_path / "v.n5" / "raw", ARRAY)
    with http_server(tmp_path) as (url, _):
        np.testing.assert_array_equal(read_whole(open_source(f"precomputed://{url}/v")), ARRAY)
        np.testing.assert_array_equal(read_whole(open_source(f"{url}/v.n5/raw")), ARRAY)
        with pytest.raises(VolumeError, match="there is no file 'info'"):
            open_source(f"precomputed://{url}/nothing")


@pytest.mark.parametrize(
    "change",
    [
        {"scales": []},
        {"scales": [{"key": "../../other"}]},
        {"scales": [7]},
        {"num_channels": -1},
        {"data_type": "object"},
        {"data_type": "nonsense"},
    ],
    ids=str,
)
def test_precomputed_infos_that_make_no_sense(tmp_path: Path, change: dict[str, Any]) -> None:
    write_precomputed(tmp_path / "v", ARRAY)
    info = tmp_path / "v" / "info"
    info.write_text(json.dumps({**json.loads(info.read_text()), **change}))
    with pytest.raises(VolumeError) as caught:
        open_source(f"precomputed://{tmp_path}/v")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"dimensions": [1 << 40] * 3, "blockSize": [1 << 20] * 3}, {"blockSize": [0, 1, 1]}, {"dataType": "x"}]
)
def test_n5_attributes_that_make_no_sense(tmp_path: Path, change: dict[str, Any]) -> None:
    write_n5(tmp_path / "v.n5", ARRAY)
    set_attributes(tmp_path / "v.n5", **change)
    with pytest.raises(VolumeError) as caught:
        open_source(tmp_path / "v.n5")
    assert "\n" not in str(caught.value)
