"""TIFF files that tifffile writes, read as tifffile reads them: every kind, axis, compression and byte order."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
import pytest
import tifffile

from pipeline.config import settings
from pipeline.errors import ReadError, VolumeError
from pipeline.formats import open_source
from pipeline.formats.handles import close_handles
from pipeline.volume import open_raw
from tests.pipeline.formats.contract import Array, VolumeContract, make_array, read_whole

ARRAY = make_array((5, 37, 51), "u2")


class TestPages(VolumeContract):
    options: ClassVar[dict[str, Any]] = {}
    dtypes: tuple[str, ...] = ("?", "u1", "i1", "<u2", ">u2", ">i4", "<u8", "<f2", "<f4", ">f4", ">f8")

    def write(self, path: Path, array: Array) -> Path:
        order: Any = ">" if array.dtype.byteorder == ">" else "<"
        tifffile.imwrite(path / "v.tif", array, byteorder=order, photometric="minisblack", **self.options)
        return path / "v.tif"

    def damage(self, path: Path) -> None:
        os.truncate(path, os.path.getsize(path) // 2)


class TestTiles(TestPages):
    dtypes = ("u1", "<u2", ">u2", ">f4")
    options: ClassVar[dict[str, Any]] = {"tile": (16, 16), "compression": "zlib"}


class TestBigStrips(TestPages):
    dtypes = ("u1", "<u2", ">u2", "<f4", ">f4")
    options: ClassVar[dict[str, Any]] = {"bigtiff": True, "rowsperstrip": 7, "compression": "lzw", "predictor": True}


class TestVirtualHyperstack(TestPages):
    dtypes = ("u1", "<u2", ">f4")
    options: ClassVar[dict[str, Any]] = {"imagej": True, "truncate": True}

    def write(self, path: Path, array: Array) -> Path:
        order: Any = ">" if array.dtype.byteorder == ">" else "<"
        tifffile.imwrite(path / "v.tif", array, byteorder=order, **self.options)
        return path / "v.tif"


def check(path: Path) -> Any:
    """Compare all and a box with tifffile; the source."""
    source = open_source(path)
    expected = tifffile.imread(path)
    np.testing.assert_array_equal(read_whole(source), expected)
    start, stop = [n // 3 for n in source.shape], [n // 3 * 2 + 1 for n in source.shape]
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    np.testing.assert_array_equal(source.read(start, stop), expected[box])
    return source


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("options", [{"rowsperstrip": 8}, {"tile": (16, 32)}], ids=["strips", "tiles"])
def test_compressions(tmp_path: Path, order: Any, compression: str | None, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "v.tif", ARRAY, byteorder=order, compression=compression, **options)
    check(tmp_path / "v.tif")


@pytest.mark.parametrize("dtype", ["u1", "u4", "f4", "f8"])
def test_predictors(tmp_path: Path, dtype: str) -> None:
    array = make_array((6, 20, 30), dtype)
    tifffile.imwrite(tmp_path / "v.tif", array, compression="zlib", predictor=True, rowsperstrip=8)
    check(tmp_path / "v.tif")


KINDS: list[tuple[tuple[int, ...], str | None, dict[str, Any]]] = [
    ((20, 30), "yx", {}),
    ((5, 21, 33), None, {"metadata": None}),
    ((5, 21, 33), "zyx", {"metadata": {"axes": "ZYX"}}),
    ((5, 21, 33), "zyx", {"imagej": True, "metadata": {"axes": "ZYX"}}),
    ((5, 21, 33), "tyx", {"imagej": True, "metadata": {"axes": "TYX"}}),
    ((2, 3, 4, 21, 33), "tzcyx", {"imagej": True, "metadata": {"axes": "TZCYX"}}),
    ((2, 3, 4, 21, 33), "tcyx"[:1] + "czyx", {"ome": True, "metadata": {"axes": "TCZYX"}}),
    ((3, 4, 21, 33), "ctyx", {"ome": True, "metadata": {"axes": "CTYX"}}),
    ((4, 21, 33, 3), "zyxc", {"ome": True, "photometric": "rgb", "metadata": {"axes": "ZYXS"}}),
    ((4, 21, 33, 3), None, {"photometric": "rgb"}),
    ((21, 33, 3), "yxc", {"photometric": "rgb"}),
    ((21, 33, 3), "yxc", {"photometric": "rgb", "imagej": True}),
    ((3, 21, 33), "cyx", {"photometric": "rgb", "planarconfig": "separate", "rowsperstrip": 7, "compression": "zlib"}),
    ((3, 21, 33), "cyx", {"photometric": "rgb", "planarconfig": "separate", "tile": (16, 16)}),
    ((8, 32, 48), "zyx", {"volumetric": True, "tile": (16, 16, 16)}),
]


@pytest.mark.parametrize(("shape", "axes", "options"), KINDS, ids=str)
def test_kinds_and_their_axes(tmp_path: Path, shape: tuple[int, ...], axes: str | None, options: Any) -> None:
    tifffile.imwrite(tmp_path / "v.tif", make_array(shape, "u1"), **options)
    assert check(tmp_path / "v.tif").axes == axes


def test_jpeg_reads_as_tifffile_does(tmp_path: Path) -> None:
    array = make_array((64, 70, 3), "u1")
    tifffile.imwrite(tmp_path / "v.tif", array, photometric="rgb", compression="jpeg", tile=(32, 32))
    check(tmp_path / "v.tif")


def test_imagej_spacing_and_units(tmp_path: Path) -> None:
    words = {"axes": "TZYX", "spacing": 2.5, "unit": "um", "finterval": 0.25, "tunit": "sec"}
    array = make_array((2, 3, 20, 30), "u1")
    tifffile.imwrite(tmp_path / "v.tif", array, imagej=True, resolution=(4, 2), metadata=words)
    source = open_source(tmp_path / "v.tif")
    assert source.spacing == {"t": 0.25, "z": 2.5, "y": 0.5, "x": 0.25}
    assert source.units == {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}


def test_ome_spacing_and_units(tmp_path: Path) -> None:
    words = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeZ": 40, "PhysicalSizeZUnit": "nm"}
    tifffile.imwrite(tmp_path / "v.ome.tif", ARRAY, ome=True, metadata=words)
    source = open_source(tmp_path / "v.ome.tif")
    assert source.spacing == {"z": 40.0, "x": 0.5}
    assert source.units == {"z": "nanometer", "x": "micrometer"}


def test_resolution_tags(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "v.tif", ARRAY[0], resolution=(1000, 500), resolutionunit="CENTIMETER")
    source = open_source(tmp_path / "v.tif")
    assert source.spacing == {"y": 0.002, "x": 0.001}
    assert source.units == {"y": "centimeter", "x": "centimeter"}


def test_series_are_listed_and_chosen_by_number_or_name(tmp_path: Path) -> None:
    path = tmp_path / "v.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(ARRAY, metadata={"axes": "ZYX", "Name": "one"})
        file.write(ARRAY[:3, :20], metadata={"axes": "CYX", "Name": "two"})
    with pytest.raises(VolumeError, match=r"0 'one' \(5, 37, 51\); 1 'two' \(3, 20, 51\); choose one with dataset="):
        open_source(path)
    with pytest.raises(VolumeError, match=r"no series 'three' inside; it holds 0 'one'"):
        open_source(path, "three")
    for name in ("1", "two"):
        np.testing.assert_array_equal(read_whole(open_source(path, name)), ARRAY[:3, :20])
    assert open_source(path, "two").axes == "cyx"


def test_series_without_names(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "v.tif") as file:
        file.write(ARRAY)
        file.write(ARRAY[:2], contiguous=False)
    np.testing.assert_array_equal(read_whole(open_source(tmp_path / "v.tif", "1")), ARRAY[:2])


@pytest.mark.parametrize("place", ["subifds", "chain"])
def test_levels(tmp_path: Path, place: str) -> None:
    words = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    path = tmp_path / ("v.ome.tif" if place == "subifds" else "v.tif")
    small = ARRAY[:, ::2, ::2]
    if place == "subifds":
        with tifffile.TiffWriter(path, ome=True) as file:
            file.write(ARRAY, subifds=1, metadata=words)
            file.write(small, subfiletype=1)
        assert open_source(path, level=1).spacing == {"y": 1.0, "x": 1.0}
    else:
        with tifffile.TiffWriter(path) as file:
            for array in (ARRAY, small):
                file.write(array, subfiletype=int(array is small), metadata=None)
    np.testing.assert_array_equal(read_whole(open_source(path)), ARRAY)
    np.testing.assert_array_equal(read_whole(open_source(path, level=1)), small)
    with pytest.raises(VolumeError, match="no level 2; there are 0 to 1"):
        open_source(path, level=2)


@pytest.mark.parametrize(("uuids", "refused"), [("own", False), ("other", True), ("several", True)])
def test_planes_in_other_files_are_refused(tmp_path: Path, uuids: str, refused: bool) -> None:
    tifffile.imwrite(tmp_path / "v.ome.tif", ARRAY, ome=True, metadata={"axes": "ZYX"})
    text = str(tifffile.tiffcomment(tmp_path / "v.ome.tif"))
    own = text.split('UUID="')[1].split('"')[0]
    names = [{"own": own, "other": "u", "several": f"u{n}"}[uuids] for n in range(len(ARRAY))]
    block = '<TiffData IFD="{0}" FirstZ="{0}"><UUID FileName="../{0}.tif">{1}</UUID></TiffData>'
    blocks = "".join(block.format(n, name) for n, name in enumerate(names))
    text = f"{text.split('<TiffData')[0]}{blocks}</Pixels></Image></OME>"
    tifffile.imwrite(tmp_path / "v.tif", ARRAY, metadata=None, description=text)
    if refused:
        with pytest.raises(VolumeError, match=r"which leads out of the folder"):
            open_source(tmp_path / "v.tif")
    else:  # renamed since it was written
        np.testing.assert_array_equal(read_whole(open_source(tmp_path / "v.tif")), ARRAY)


def test_missing_planes_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "v.ome.tif", ARRAY, ome=True, metadata={"axes": "ZYX"})
    text = str(tifffile.tiffcomment(tmp_path / "v.ome.tif")).replace('SizeZ="5"', 'SizeZ="999999999"')
    tifffile.tiffcomment(tmp_path / "v.ome.tif", text)
    with pytest.raises(VolumeError, match="names 999,999,999 planes, but the file holds 5 pages"):
        open_source(tmp_path / "v.ome.tif")


def test_unknown_compression_names_what_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "v.tif", ARRAY[0], metadata=None)
    with tifffile.TiffFile(tmp_path / "v.tif", mode="r+") as file:
        file.pages.first.tags["Compression"].overwrite(34712)
    with pytest.raises(VolumeError, match=r"method 34712, which is not read; known are Deflate, JPEG, LZMA, LZW"):
        open_source(tmp_path / "v.tif")


@pytest.mark.usefixtures("no_leaks")
def test_20_gb_open_lazily_and_give_a_slice(tmp_path: Path) -> None:
    path = tmp_path / "v.tif"
    shape = (5000, 2000, 1000)
    header = f"ImageJ=1.53t\nimages={shape[0]}\nslices={shape[0]}\n".encode() + b"\0"
    tags = [(256, 4, 1, shape[2]), (257, 4, 1, shape[1]), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(270, 2, len(header), 400), (273, 4, 1, 4096), (277, 3, 1, 1), (278, 4, 1, shape[1]), (279, 4, 1, 4000000)]
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    raw = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + table + bytes(4)
    path.write_bytes(raw.ljust(400, b"\0") + header)
    os.truncate(path, 4096 + 20_000_000_000)
    with path.open("r+b") as file:
        file.seek(4096 + (4000 * 2_000_000 + 700 * 1000 + 5) * 2)
        file.write(b"\x07\x01")
    process = psutil.Process()
    read, resident = process.io_counters().read_chars, process.memory_info().rss
    volume = open_raw(path)
    assert volume.shape == shape
    assert volume.dims == "zyx"
    plane = volume[4000, :1000]
    assert plane[700, 5] == 0x107
    assert int(plane.sum()) == 0x107
    assert process.io_counters().read_chars - read < 1_000_000
    assert process.memory_info().rss - resident < 100_000_000
    close_handles()


def chain(n: int, circle: bool = False) -> bytes:
    """A file of `n` pages of one pixel."""
    size = 2 + 3 * 12 + 4
    pages = []
    for number in range(n):
        following = 8 + (number + 1) * size if number + 1 < n else 8 * circle
        tags = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in ((256, 1), (257, 1), (273, 8)))
        pages.append(struct.pack("<H", 3) + tags + struct.pack("<I", following))
    return b"II*\0" + struct.pack("<I", 8) + b"".join(pages)


def test_a_million_tiny_pages_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v.tif").write_bytes(chain(1000))
    few = settings().model_copy(update={"tiff_pages": 999})
    monkeypatch.setattr("pipeline.formats.tiff_directory.settings", lambda: few)
    with pytest.raises(VolumeError, match="more pages than VOXELFOREST_TIFF_PAGES allows 999"):
        open_source(tmp_path / "v.tif")


def test_pages_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "v.tif").write_bytes(chain(3, circle=True))
    with pytest.raises(VolumeError, match="run in a circle"):
        open_source(tmp_path / "v.tif")


@pytest.mark.parametrize("content", [b"", b"II*\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0" + bytes(8), b"plain text"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.tif").write_bytes(content)
    with pytest.raises(VolumeError, match=r"v\.tif"):
        open_source(tmp_path / "v.tif")


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd", "lzma", "jpeg"])
def test_decompression_bomb_takes_no_more_than_its_strip(tmp_path: Path, compression: str) -> None:
    large = np.zeros((8000, 8000), "u1")
    tifffile.imwrite(tmp_path / "v.tif", large, compression=compression, rowsperstrip=8000, metadata=None)
    with tifffile.TiffFile(tmp_path / "v.tif", mode="r+") as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            file.pages.first.tags[name].overwrite(100)
    source = open_source(tmp_path / "v.tif")
    assert source.shape == (100, 100)
    before = psutil.Process().memory_info().rss
    with contextlib.suppress(ReadError):  # LZW and LZMA give the part that was asked for
        read_whole(source)
    assert psutil.Process().memory_info().rss - before < 20_000_000


def test_strip_larger_than_the_limit_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "v.tif", ARRAY, compression="zlib")
    few = settings().model_copy(update={"image_pixels": 1000})
    monkeypatch.setattr("pipeline.formats.tiff_planes.settings", lambda: few)
    with pytest.raises(VolumeError, match=r"strips or tiles of 1,887 values; VOXELFOREST_IMAGE_PIXELS allows 1,000"):
        read_whole(open_source(tmp_path / "v.tif"))
