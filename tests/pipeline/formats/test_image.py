from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config import settings
from pipeline.errors import ReadError, VolumeError
from pipeline.formats import open_source
from tests.pipeline.formats.contract import Array, VolumeContract, make_array, read_whole


class TestPng(VolumeContract):
    shape: tuple[int, ...] = (30, 41)
    large: tuple[int, ...] = (2000, 2000)
    dtypes: tuple[str, ...] = ("?", "u1", "<u2")

    def write(self, path: Path, array: Array) -> Path:
        Image.fromarray(array).save(path / "v.png")
        return path / "v.png"

    def damage(self, path: Path) -> None:
        os.truncate(path, os.path.getsize(path) // 2)


class TestColour(TestPng):
    shape = (30, 41, 3)
    large = (1000, 1000, 3)
    dtypes = ("u1",)

    def test_box_at_the_far_edge(self, tmp_path: Path) -> None:
        source, array = self.make(tmp_path)
        np.testing.assert_array_equal(source.read((25, 36, 1), (30, 41, 3)), array[25:, 36:, 1:])


@pytest.mark.parametrize(("mode", "axes"), [("L", "yx"), ("LA", "yxc"), ("RGB", "yxc"), ("RGBA", "yxc")])
def test_png_of_every_mode_reads_as_pillow_does(tmp_path: Path, mode: str, axes: str) -> None:
    channels = len(mode)
    array = make_array((9, 11, channels)[: 2 + (channels > 1)], "u1")
    Image.fromarray(array, mode=None).save(tmp_path / "v.png")
    source = open_source(tmp_path / "v.png")
    assert source.axes == axes
    np.testing.assert_array_equal(read_whole(source), np.asarray(Image.open(tmp_path / "v.png")))


def test_16_bit_png_keeps_all_bits(tmp_path: Path) -> None:
    array = np.array([[0, 1, 255, 256], [40000, 65535, 513, 7]], "u2")
    Image.fromarray(array).save(tmp_path / "v.png")
    np.testing.assert_array_equal(read_whole(open_source(tmp_path / "v.png")), array)


def test_palette_becomes_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(make_array((9, 11, 3), "u1")).quantize(16)
    picture.save(tmp_path / "v.png")
    np.testing.assert_array_equal(read_whole(open_source(tmp_path / "v.png")), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize(("shape", "suffix"), [((20, 30), "jpg"), ((20, 30, 3), "jpeg")])
def test_jpeg_reads_as_pillow_does(tmp_path: Path, shape: tuple[int, ...], suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    Image.fromarray(make_array(shape, "u1")).save(path)
    np.testing.assert_array_equal(read_whole(open_source(path)), np.asarray(Image.open(path)))


def png_header(width: int, height: int, depth: int, colour: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    idat = b"IDAT" + zlib.compress(b"\0" * 100)
    parts = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (body, idat)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(60000, 60000, 8, 0))
    with pytest.raises(VolumeError, match=rf"60000 x 60000.*{settings().image_pixels:,}"):
        open_source(tmp_path / "bomb.png")


def test_16_bit_colour_is_refused_rather_than_cut_to_8(tmp_path: Path) -> None:
    (tmp_path / "v.png").write_bytes(png_header(4, 4, 16, 2))
    with pytest.raises(VolumeError, match="16-bit PNG in colour"):
        open_source(tmp_path / "v.png")


def test_cmyk_is_refused(tmp_path: Path) -> None:
    Image.new("CMYK", (5, 6)).save(tmp_path / "v.jpg")
    with pytest.raises(VolumeError, match="'CMYK'"):
        open_source(tmp_path / "v.jpg")


def test_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.new("L", (5, 6), grey) for grey in (0, 90)]
    frames[0].save(tmp_path / "v.png", save_all=True, append_images=frames[1:])
    with pytest.raises(VolumeError, match="animated"):
        open_source(tmp_path / "v.png")


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", png_header(0, 0, 8, 0)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.png").write_bytes(content)
    with pytest.raises(VolumeError, match=r"v\.png"):
        open_source(tmp_path / "v.png")


def test_cut_picture_is_a_read_error_with_its_place(tmp_path: Path) -> None:
    Image.fromarray(make_array((90, 90), "u1")).save(tmp_path / "v.png")
    os.truncate(tmp_path / "v.png", 2000)
    with pytest.raises(ReadError, match=r"v\.png: chunk \(0, 0\) at \[0:90, 0:90\] is damaged"):
        read_whole(open_source(tmp_path / "v.png"))
