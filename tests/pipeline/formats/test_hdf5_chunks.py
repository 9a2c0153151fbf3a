"""Chunks decoded here hold what the library gives; a bomb is refused before there is room for it."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.errors import ReadError, VolumeError
from pipeline.formats import open_source
from pipeline.formats.handles import close_handles
from pipeline.formats.hdf5_chunks import chunk_reader
from tests.memory import peak_growth
from tests.pipeline.formats.contract import make_array, read_whole

SHAPE = (7, 20, 33)
CHUNKS = (3, 7, 11)  # an odd number of values
BOMB_BYTES = 1 << 28
MOST_BYTES = 1 << 26
FILTERS: dict[str, tuple[str, ...]] = {
    "gzip": ("deflate",),
    "shuffle": ("shuffle",),
    "checksum": ("fletcher32",),
    "both": ("shuffle", "deflate"),
    "all": ("shuffle", "deflate", "fletcher32"),
    "checksum first": ("fletcher32", "shuffle", "deflate"),
}


def write(path: Path, array: np.ndarray[Any, Any], filters: tuple[str, ...]) -> None:
    """All planes but the last are written; the last stay at the fill value."""
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    create.set_chunk(CHUNKS)
    create.set_fill_value(np.array(3, array.dtype))
    for name in filters:
        getattr(create, f"set_{name}")(*([4] if name == "deflate" else []))
    space = h5py.h5s.create_simple(array.shape)
    with h5py.File(path, "w") as file:
        made = h5py.h5d.create(file.id, b"raw", h5py.h5t.py_create(array.dtype), space, create)
        h5py.Dataset(made)[: CHUNKS[0]] = array[: CHUNKS[0]]


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<f4", ">f8", "<i8"])
def test_same_values_as_the_library_gives(tmp_path: Path, filters: tuple[str, ...], dtype: str) -> None:
    write(tmp_path / "v.h5", make_array(SHAPE, dtype), filters)
    with h5py.File(tmp_path / "v.h5") as file:
        reader = chunk_reader(file["raw"])
        assert reader is not None
        for box in (np.s_[0:7, 0:20, 0:33], np.s_[2:6, 5:9, 30:33]):
            expected = file["raw"][box]
            np.testing.assert_array_equal(reader.read(box), expected)
            assert reader.read(box).dtype == expected.dtype.newbyteorder("=")


@pytest.mark.parametrize("options", [{"compression": "lzf"}, {"scaleoffset": 0}, {}], ids=str)
def test_other_filters_are_left_to_the_library(tmp_path: Path, options: dict[str, Any]) -> None:
    array = make_array(SHAPE, "u2")
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("raw", data=array, chunks=CHUNKS, **options)
        assert chunk_reader(file["raw"]) is None
    np.testing.assert_array_equal(read_whole(open_source(tmp_path / "v.h5")), array)


def test_values_of_odd_precision_are_left_to_the_library(tmp_path: Path) -> None:
    kind = h5py.h5t.STD_U16LE.copy()
    kind.set_precision(12)
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    create.set_chunk((4, 4))
    create.set_deflate(1)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        made = h5py.Dataset(h5py.h5d.create(file.id, b"raw", kind, h5py.h5s.create_simple((4, 4)), create))
        made[...] = 7
        assert chunk_reader(made) is None
    assert (read_whole(open_source(tmp_path / "v.h5")) == 7).all()


def test_chunk_that_skipped_its_filters(tmp_path: Path) -> None:
    array = make_array((4, 8), "u2")
    with h5py.File(tmp_path / "v.h5", "w") as file:
        data = file.create_dataset("raw", (4, 8), "u2", chunks=(4, 8), compression="gzip", shuffle=True)
        data.id.write_direct_chunk((0, 0), zlib.compress(array.tobytes()), filter_mask=0b01)
    np.testing.assert_array_equal(read_whole(open_source(tmp_path / "v.h5")), array)


def test_wrong_checksum_is_damage(tmp_path: Path) -> None:
    write(tmp_path / "v.h5", make_array(SHAPE, "u2"), ("fletcher32",))
    with h5py.File(tmp_path / "v.h5", "r+") as file:
        mask, stored = file["raw"].id.read_direct_chunk((0, 7, 11))
        file["raw"].id.write_direct_chunk((0, 7, 11), bytes([stored[0] ^ 1]) + stored[1:], mask)
    with pytest.raises(ReadError, match=r"chunk \(0, 1, 1\) .* checksum is wrong"):
        read_whole(open_source(tmp_path / "v.h5"))


@pytest.mark.parametrize("content", [bytes(BOMB_BYTES), bytes(100), b""], ids=["bomb", "short", "nothing"])
def test_chunk_of_another_size_is_refused(tmp_path: Path, content: bytes) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as file:
        data = file.create_dataset("raw", (64, 64), "u2", chunks=(64, 64), compression="gzip")
        data.id.write_direct_chunk((0, 0), zlib.compress(content))

    def read() -> str:
        with pytest.raises(ReadError, match="is damaged") as caught:
            read_whole(open_source(tmp_path / "v.h5"))
        return str(caught.value)

    text, grown = peak_growth(read)
    close_handles()
    assert "\n" not in text
    assert grown < MOST_BYTES


def test_filter_for_more_values_than_a_chunk_has(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("raw", data=make_array((40, 50), "u2"), chunks=(40, 50), scaleoffset=0)
    data = (tmp_path / "v.h5").read_bytes()
    count = (2000).to_bytes(4, "little")
    places = [at for at in range(0, 4000, 4) if data[at : at + 4] == count]
    assert len(places) == 1
    (tmp_path / "v.h5").write_bytes(data[: places[0]] + (2**31).to_bytes(4, "little") + data[places[0] + 4 :])
    with pytest.raises(VolumeError, match="chunks of another size"):
        open_source(tmp_path / "v.h5")
