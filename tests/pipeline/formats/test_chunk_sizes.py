"""Chunks that would decode to far more than they may are refused before there is room for it."""

from __future__ import annotations

import gzip
import json
import lzma
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, GzipCodec, ShardingCodec, ZstdCodec
from zarr.registry import get_numcodec

from pipeline.errors import ReadError, VolumeError
from pipeline.formats import open_source
from pipeline.formats.chunk_sizes import check_decoded, decode_chunk
from pipeline.formats.handles import close_handles
from tests.memory import peak_growth
from tests.pipeline.formats.contract import make_array, read_whole
from tests.pipeline.formats.test_tensor import write_n5

ARRAY = make_array((5, 32, 64), "u2")
BOMB_BYTES = 1 << 28
MOST_BYTES = 1 << 26  # a quarter of what the bombs would take; Zarr's event loop and threads are in it
NAMES = ["zstd", "blosc", "lz4", "gzip", "zlib"]
STREAMED = ["bz2", "lzma"]
PART_BYTES = 1 << 22  # of a stream of bz2 or lzma, which may follow each other; large ones take long to make


def codec(name: str) -> Any:
    known: Any = {"id": name}
    return get_numcodec(known)


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    """Zeros, compressed in each way."""
    whole = {name: bytes(codec(name).encode(bytes(BOMB_BYTES))) for name in NAMES}
    parts = {name: bytes(codec(name).encode(bytes(PART_BYTES))) * (BOMB_BYTES // PART_BYTES) for name in STREAMED}
    return {**whole, **parts}


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


@pytest.mark.parametrize("name", STREAMED)
def test_streams_are_counted(name: str) -> None:
    data = bytes(codec(name).encode(bytes(1000))) + bytes(codec(name).encode(bytes(500)))
    check_decoded(name, data, 1500)
    with pytest.raises(ValueError, match="1,499 are the most"):
        check_decoded(name, data, 1499)
    with pytest.raises(ValueError, match="cut off"):
        check_decoded(name, data[:-3], 1500)


def test_dictionary_of_lzma_is_bounded() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    with pytest.raises(ValueError, match="1,073,741,824 bytes; 134,217,728 are allowed"):
        check_decoded("lzma", b"data", 100, {"format": lzma.FORMAT_RAW, "filters": filters})


def frame_without_size(blocks: int) -> bytes:
    """zstd as a stream writes it: blocks of 128 kB, each of them one repeated byte (RFC 8878, 3.1.1)."""
    heads = [(1 << 17) << 3 | 1 << 1 | (number == blocks - 1) for number in range(blocks)]
    return bytes.fromhex("28b52ffd0058") + b"".join(head.to_bytes(3, "little") + b"\0" for head in heads)


def test_zstd_that_names_no_size(tmp_path: Path) -> None:
    check_decoded("zstd", frame_without_size(2), 1 << 18)
    with pytest.raises(RuntimeError):
        check_decoded("zstd", frame_without_size(3), 1 << 18)
    options: Any = {"compressors": {"id": "zstd"}, "zarr_format": 2, "order": "F"}
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=ARRAY.shape, **options)
    (tmp_path / "v.zarr/0.0.0").write_bytes(frame_without_size(BOMB_BYTES >> 17))
    check_refused(tmp_path / "v.zarr")


@pytest.mark.parametrize(("outer", "inner"), [("gzip", "zstd"), ("bz2", "blosc"), ("lzma", "lz4"), ("zlib", "gzip")])
def test_bomb_in_two_compressors_in_a_row(tmp_path: Path, bombs: dict[str, bytes], outer: str, inner: str) -> None:
    packed = codec(outer).encode(bombs[inner])
    options: Any = {"filters": [codec(inner)], "compressors": codec(outer), "zarr_format": 2}
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=ARRAY.shape, **options)
    np.testing.assert_array_equal(read_whole(open_source(tmp_path / "v.zarr")), ARRAY)
    close_handles()
    (tmp_path / "v.zarr/0.0.0").write_bytes(bytes(packed))
    check_refused(tmp_path / "v.zarr")


def test_bomb_in_two_compressors_of_zarr_3(tmp_path: Path, bombs: dict[str, bytes]) -> None:
    options: Any = {"compressors": [ZstdCodec(), GzipCodec()]}
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=ARRAY.shape, **options)
    np.testing.assert_array_equal(read_whole(open_source(tmp_path / "v.zarr")), ARRAY)
    close_handles()
    (tmp_path / "v.zarr/c/0/0/0").write_bytes(gzip.compress(bombs["zstd"]))
    check_refused(tmp_path / "v.zarr")


@pytest.mark.parametrize("name", [*NAMES, *STREAMED])
def test_bomb_in_a_zarr_chunk(tmp_path: Path, bombs: dict[str, bytes], name: str) -> None:
    compressor: Any = {"id": name}
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=ARRAY.shape, compressors=compressor, zarr_format=2)
    (tmp_path / "v.zarr/0.0.0").write_bytes(bombs[name])
    check_refused(tmp_path / "v.zarr")


@pytest.mark.parametrize("name", [*NAMES, *STREAMED])
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


def _index(*entries: tuple[int, int]) -> bytes:
    index = np.array(entries, "<u8").tobytes()
    return index + bytes(codec("crc32c").encode(index))[-4:]


@pytest.mark.parametrize("place", ["start", "end"])
@pytest.mark.parametrize("inner_place", ["start", "end"])
def test_bomb_in_a_shard_of_a_shard(tmp_path: Path, bombs: dict[str, bytes], place: Any, inner_place: Any) -> None:
    inner = ShardingCodec(chunk_shape=(5, 16, 32), codecs=[BytesCodec(), GzipCodec()], index_location=inner_place)
    outer = ShardingCodec(chunk_shape=(5, 32, 32), codecs=[inner], index_location=place)
    options: Any = {"serializer": outer, "compressors": None, "chunks": ARRAY.shape}
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, **options)
    np.testing.assert_array_equal(read_whole(open_source(tmp_path / "v.zarr")), ARRAY)
    part = open_source(tmp_path / "v.zarr").read((1, 2, 3), (2, 20, 40))
    np.testing.assert_array_equal(part, ARRAY[1:2, 2:20, 3:40])
    close_handles()
    first = 36 if inner_place == "start" else 0
    index = _index((first, len(bombs["gzip"])), (2**64 - 1, 2**64 - 1))
    small = index + bombs["gzip"] if inner_place == "start" else bombs["gzip"] + index
    first = 36 if place == "start" else 0
    index = _index((first, len(small)), (2**64 - 1, 2**64 - 1))
    (tmp_path / "v.zarr/c/0/0/0").write_bytes(index + small if place == "start" else small + index)
    check_refused(tmp_path / "v.zarr")
    with pytest.raises(ReadError, match="is damaged"):
        open_source(tmp_path / "v.zarr").read((0, 0, 0), (1, 4, 4))


@pytest.mark.filterwarnings("ignore:Combining a `sharding_indexed` codec")
def test_bomb_that_is_a_whole_shard(tmp_path: Path, bombs: dict[str, bytes]) -> None:
    options: Any = {"serializer": ShardingCodec(chunk_shape=(5, 32, 32)), "compressors": GzipCodec()}
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=ARRAY.shape, **options)
    np.testing.assert_array_equal(read_whole(open_source(tmp_path / "v.zarr")), ARRAY)
    close_handles()
    (tmp_path / "v.zarr/c/0/0/0").write_bytes(bombs["gzip"])
    check_refused(tmp_path / "v.zarr")


def test_shards_of_too_many_chunks_are_refused_when_they_are_opened(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "v.zarr", shape=(1 << 14,) * 2, dtype="u1", chunks=(2, 2), shards=(1 << 14, 1 << 14))
    with pytest.raises(VolumeError, match="shards of 67,108,864 chunks are not read; 4,194,304 are the most"):
        open_source(tmp_path / "v.zarr")


def test_filter_that_makes_numbers_large(tmp_path: Path) -> None:
    changed = {"id": "astype", "encode_dtype": "|u1", "decode_dtype": "<U250000"}
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=ARRAY.shape, zarr_format=2)
    document = tmp_path / "v.zarr/.zarray"
    document.write_text(json.dumps({**json.loads(document.read_text()), "filters": [changed]}))
    with pytest.raises(VolumeError, match="'astype' has decode_dtype <U250000; allowed are bool"):
        open_source(tmp_path / "v.zarr")


def test_file_larger_than_a_chunk_can_be(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=ARRAY.shape, compressors=None, zarr_format=2)
    with open(tmp_path / "v.zarr/0.0.0", "r+b") as file:
        file.truncate(BOMB_BYTES)
    check_refused(tmp_path / "v.zarr")


@pytest.mark.parametrize(
    ("bomb", "kind"),
    [
        ("blosc", {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}),
        ("gzip", {"type": "gzip"}),
        ("bz2", {"type": "bzip2"}),
        ("lzma", {"type": "xz"}),
    ],
)
def test_bomb_in_n5(tmp_path: Path, bombs: dict[str, bytes], bomb: str, kind: dict[str, Any]) -> None:
    write_n5(tmp_path / "v.n5", ARRAY, ARRAY.shape, **kind)
    chunk = tmp_path / "v.n5/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:16] + bombs[bomb])
    check_refused(tmp_path / "v.n5")
    shutil.rmtree(tmp_path / "v.n5/0/0")
    assert not read_whole(open_source(tmp_path / "v.n5")).any()
