"""Chunks that would decode to far more than they may are refused before there is room for it."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import GzipCodec
from zarr.registry import get_numcodec

from pipeline.errors import ReadError
from pipeline.formats import open_source
from pipeline.formats.chunk_sizes import check_decoded, decode_chunk
from pipeline.formats.source import close_handles
from tests.memory import peak_growth
from tests.pipeline.formats.contract import make_array, read_whole
from tests.pipeline.formats.test_tensor import write_n5

ARRAY = make_array((5, 32, 64), "u2")
BOMB_BYTES = 1 << 28
MOST_BYTES = 1 << 26  # a quarter of what the bombs would take; Zarr's event loop and threads are in it
NAMES = ["zstd", "blosc", "lz4", "gzip", "zlib"]


def codec(name: str) -> Any:
    known: Any = {"id": name}
    return get_numcodec(known)


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    """Zeros, compressed in each way."""
    return {name: bytes(codec(name).encode(bytes(BOMB_BYTES))) for name in NAMES}


def check_refused(path: Path) -> None:
    def read() -> str:
        with pytest.raises(ReadError, match="is damaged") as caught:
            read_whole(open_source(path))
        return str(caught.value)

    text, grown = peak_growth(read)
    close_handles()
    assert "\n" not in text
    assert grown < MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_chunk_of_the_right_size_is_decoded(name: str) -> None:
    data = bytes(range(250)) * 4
    assert bytes(decode_chunk(codec(name), bytes(codec(name).encode(data)), 1000)) == data
    for size in (999, 1001):
        with pytest.raises(ValueError, match=r"bytes, not"):
            decode_chunk(codec(name), bytes(codec(name).encode(data)), size)


def test_gzip_of_several_members_is_decoded() -> None:
    data = gzip.compress(b"ab") + gzip.compress(b"") + gzip.compress(b"cd") + bytes(7)
    assert decode_chunk(codec("gzip"), data, 4) == b"abcd"


@pytest.mark.parametrize("kept", [5, 20, -9])
def test_cut_gzip_is_an_error(kept: int) -> None:
    with pytest.raises((ValueError, zlib.error)):
        decode_chunk(codec("gzip"), gzip.compress(bytes(range(250)))[:kept], 250)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_791, 65_792, 1 << 20])
def test_size_in_a_zstd_frame_is_read(size: int) -> None:
    frame = bytes(codec("zstd").encode(bytes(size)))
    check_decoded("zstd", frame, size)
    if size:
        with pytest.raises(ValueError, match=f"{size:,} bytes"):
            check_decoded("zstd", frame, size - 1)


@pytest.mark.parametrize("name", NAMES)
def test_bomb_in_a_zarr_chunk(tmp_path: Path, bombs: dict[str, bytes], name: str) -> None:
    compressor: Any = {"id": name}
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=ARRAY.shape, compressors=compressor, zarr_format=2)
    (tmp_path / "v.zarr/0.0.0").write_bytes(bombs[name])
    check_refused(tmp_path / "v.zarr")


@pytest.mark.parametrize("name", NAMES)
def test_bomb_in_a_chunk_that_zarr_itself_reads(tmp_path: Path, bombs: dict[str, bytes], name: str) -> None:
    compressor: Any = {"id": name}
    options: Any = {"compressors": compressor, "zarr_format": 2, "order": "F"}
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=ARRAY.shape, **options)
    (tmp_path / "v.zarr/0.0.0").write_bytes(bombs[name])
    check_refused(tmp_path / "v.zarr")


@pytest.mark.parametrize("chunks", [(5, 32, 64), (5, 16, 64)], ids=["whole", "parts"])
def test_bomb_in_a_shard(tmp_path: Path, bombs: dict[str, bytes], chunks: tuple[int, ...]) -> None:
    options: Any = {"chunks": chunks, "shards": ARRAY.shape, "compressors": GzipCodec()}
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, **options)
    file = tmp_path / "v.zarr/c/0/0/0"
    index = np.tile(np.array([0, len(bombs["gzip"])], "<u8"), ARRAY.size // int(np.prod(chunks))).tobytes()
    checksum = bytes(codec("crc32c").encode(index))[-4:]
    file.write_bytes(bombs["gzip"] + index + checksum)
    check_refused(tmp_path / "v.zarr")
    with pytest.raises(ReadError, match="is damaged"):
        open_source(tmp_path / "v.zarr").read((0, 0, 0), (1, 4, 4))


def test_file_larger_than_a_chunk_can_be(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=ARRAY.shape, compressors=None, zarr_format=2)
    with open(tmp_path / "v.zarr/0.0.0", "r+b") as file:
        file.truncate(BOMB_BYTES)
    check_refused(tmp_path / "v.zarr")


@pytest.mark.parametrize("bomb", [lambda b: b["blosc"], lambda b: b["gzip"]], ids=["blosc", "gzip"])
def test_bomb_in_n5(tmp_path: Path, bombs: dict[str, bytes], bomb: Callable[[dict[str, bytes]], bytes]) -> None:
    kinds: dict[bytes, dict[str, Any]] = {
        bombs["blosc"]: {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1},
        bombs["gzip"]: {"type": "gzip"},
    }
    write_n5(tmp_path / "v.n5", ARRAY, ARRAY.shape, **kinds[bomb(bombs)])
    chunk = tmp_path / "v.n5/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:16] + bomb(bombs))
    check_refused(tmp_path / "v.n5")
    shutil.rmtree(tmp_path / "v.n5/0/0")
    assert not read_whole(open_source(tmp_path / "v.n5")).any()
