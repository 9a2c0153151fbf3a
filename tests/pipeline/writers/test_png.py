"""PNG outputs as Pillow sees them, and 16-bit colour, which it does not know, decoded by the book."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import StoreError
from tests.outputs import begin, make_spec, make_values, write_all

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def make_file(path: Path, dims: str, shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    spec = make_spec(shape, dims, dtype=dtype)
    values = make_values(spec)
    write_all(begin(path, spec), {"probabilities": values})
    return values


@pytest.mark.parametrize("channels", MODES)
def test_eight_bits_are_what_pillow_reads(tmp_path: Path, channels: int) -> None:
    values = make_file(tmp_path / "out.png", "cyx", (channels, 35, 33), "uint8")
    with Image.open(tmp_path / "out.png") as picture:
        picture.verify()
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.mode == MODES[channels]
        assert np.array_equal(np.asarray(picture).reshape(35, 33, channels), np.moveaxis(values, 0, -1))


@pytest.mark.parametrize("dims", ["yx", "zyx", "tzyx"])
def test_axes_of_length_one_do_not_matter(tmp_path: Path, dims: str) -> None:
    shape = (1,) * (len(dims) - 2) + (17, 40)
    values = make_file(tmp_path / "out.png", dims, shape, "uint16")
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.mode == "I;16"
        assert np.array_equal(np.asarray(picture), values.reshape(17, 40))


def decode(path: Path, height: int, width: int, channels: int) -> np.ndarray[Any, Any]:
    """Undo filter 2 (up), the one that is written; checks lengths and checksums on the way."""
    data, at, packed = path.read_bytes(), 8, b""
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == int.from_bytes(data[at + 8 + length : at + 12 + length])
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, -1)
    assert set(rows[:, 0]) == {2}
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).view(">u2").reshape(height, width, channels)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bits_in_colour_are_exact(tmp_path: Path, channels: int) -> None:
    values = make_file(tmp_path / "out.png", "cyx", (channels, 35, 33), "uint16")
    assert np.array_equal(decode(tmp_path / "out.png", 35, 33, channels), np.moveaxis(values, 0, -1))


@pytest.mark.parametrize(
    ("dims", "shape", "dtype", "words"),
    [
        ("yx", (8, 8), "float32", "add --dtype uint8"),
        ("cyx", (5, 8, 8), "uint8", "1 to 4 channels, the result has 5"),
        ("zyx", (2, 8, 8), "uint8", "one plane, the result is z=2 y=8 x=8; choose one with --roi"),
        ("tyx", (2, 8, 8), "uint8", "one plane, the result is t=2"),
    ],
)
def test_what_does_not_fit_is_refused_before_work(
    tmp_path: Path, dims: str, shape: tuple[int, ...], dtype: str, words: str
) -> None:
    with pytest.raises(StoreError, match=words):
        begin(tmp_path / "out.png", make_spec(shape, dims, dtype=dtype))
    assert list(tmp_path.iterdir()) == []
