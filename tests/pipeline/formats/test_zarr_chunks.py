"""Chunks read without Zarr are the same as with it; what is stored in another way is left to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, TransposeCodec, ZstdCodec
from zarr.registry import get_numcodec

from pipeline.errors import VolumeError
from pipeline.formats.zarr_chunks import chunk_reader

SHAPE, CHUNKS = (20, 35, 33), (8, 16, 16)
BOXES = [(slice(0, 20), slice(0, 35), slice(0, 33)), (slice(7, 9), slice(16, 17), slice(3, 33)), (slice(19, 20),) * 3]
V2 = [None, *({"id": name} for name in ("zstd", "blosc", "gzip", "zlib", "lz4"))]
V3 = [None, ZstdCodec(level=3), ZstdCodec(checksum=True), BloscCodec(cname="lz4"), GzipCodec(level=1)]


def name_of(codec: Any) -> str:
    """The same in every process, which the text of a codec is not."""
    return json.dumps(codec.to_dict()) if codec else "none"


def numcodec(**document: Any) -> Any:
    """A codec of Zarr's version 2."""
    known: Any = document
    return get_numcodec(known)


def make(folder: Path, dtype: str, **options: Any) -> zarr.Array[Any]:
    """An array with one chunk that was never written."""
    array = zarr.create_array(folder, name="a/b", shape=SHAPE, chunks=CHUNKS, dtype=dtype, fill_value=3, **options)
    values = np.random.default_rng(0).integers(0, 100, SHAPE)
    array[:16] = values[:16].astype(dtype)
    array[16:, :32] = values[16:, :32].astype(dtype)
    return array


def check(folder: Path, array: zarr.Array[Any]) -> None:
    reader = chunk_reader(str(folder), array)
    assert reader is not None
    for box in BOXES:
        found, expected = reader.read(box), np.asarray(array[box])
        assert found.dtype == expected.dtype.newbyteorder("=")
        assert np.array_equal(found, expected)
    for box, found in zip(BOXES, reader.read_each(BOXES), strict=True):
        assert np.array_equal(found, np.asarray(array[box]))


@pytest.mark.parametrize("dtype", ["uint8", "<i2", ">u4", ">f4", "float64", "bool"])
@pytest.mark.parametrize("codec", V2, ids=str)
def test_version_2_reads_as_by_zarr(tmp_path: Path, codec: Any, dtype: str) -> None:
    check(tmp_path, make(tmp_path, dtype, zarr_format=2, compressors=codec))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("codec", V3, ids=name_of)
def test_version_3_reads_as_by_zarr(tmp_path: Path, codec: Any, endian: Any, dtype: str) -> None:
    check(tmp_path, make(tmp_path, dtype, serializer=BytesCodec(endian=endian), compressors=codec))


@pytest.mark.parametrize(
    "options",
    [
        {"zarr_format": 2, "order": "F"},
        {"zarr_format": 2, "filters": [numcodec(id="delta", dtype="i4")]},
        {"shards": (16, 32, 32)},
        {"filters": [TransposeCodec(order=(2, 1, 0))]},
        {"compressors": [ZstdCodec(), GzipCodec()]},
    ],
)
def test_other_ways_to_store_are_left_to_zarr(tmp_path: Path, options: dict[str, Any]) -> None:
    assert chunk_reader(str(tmp_path), make(tmp_path, "int32", **options)) is None


@pytest.mark.parametrize("linked", ["a/b/c/0", "a/b/c/0/0/0"])
def test_links_that_lead_out_are_refused(tmp_path: Path, linked: str) -> None:
    store = tmp_path / "store.zarr"
    array = make(store, "uint8")
    (store / linked).rename(tmp_path / "outside")
    (store / linked).symlink_to(tmp_path / "outside")
    reader = chunk_reader(str(store), array)
    assert reader is not None
    with pytest.raises(VolumeError, match="leads out of the folder"):
        reader.read(BOXES[0])


def test_chunk_of_another_size_is_an_error(tmp_path: Path) -> None:
    array = make(tmp_path, "uint8")
    (tmp_path / "a/b/c/0/0/0").write_bytes(numcodec(id="zstd").encode(b"too little"))
    reader = chunk_reader(str(tmp_path), array)
    assert reader is not None
    with pytest.raises(ValueError, match="says to hold 10 bytes, not 2,048"):
        reader.read(BOXES[0])
