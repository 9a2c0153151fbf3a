"""Folders and patterns of slices, written by tifffile and Pillow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.errors import ReadError, VolumeError
from pipeline.formats import open_source
from pipeline.volume import open_raw
from tests.pipeline.formats.contract import Array, VolumeContract, make_array, read_whole


def write_slices(folder: Path, array: Array, suffix: str = "tif") -> Path:
    folder.mkdir(exist_ok=True)
    for number, plane in enumerate(array):
        path = folder / f"z{number}.{suffix}"
        if suffix == "tif":
            order: Any = ">" if array.dtype.byteorder == ">" else "<"
            tifffile.imwrite(path, plane, byteorder=order)
        else:
            Image.fromarray(plane).save(path)
    return folder


class TestFolder(VolumeContract):
    large = (16, 256, 256)

    def write(self, path: Path, array: Array) -> Path:
        return write_slices(path / "v", array)

    def damage(self, path: Path) -> None:
        os.truncate(path / "z7.tif", 200)

    def document(self, path: Path) -> Path:
        return path / "z3.tif"

    def test_damage_is_one_line_that_names_the_file(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, make_array(self.shape, "u1"))
        self.damage(path)
        with pytest.raises(VolumeError, match=r"z7\.tif") as caught:
            read_whole(open_source(path))
        assert "\n" not in str(caught.value)


class TestPng(TestFolder):
    dtypes = ("?", "u1", "<u2")

    def write(self, path: Path, array: Array) -> Path:
        return write_slices(path / "v", array, "png")

    def damage(self, path: Path) -> None:
        os.truncate(path / "z7.png", 100)

    def document(self, path: Path) -> Path:
        return path / "z3.png"

    test_damage_is_one_line_that_names_the_file = VolumeContract.test_damage_is_one_line_that_names_the_file


def test_order_is_natural_and_axes_are_z_and_the_slices_own(tmp_path: Path) -> None:
    array = make_array((12, 20, 30), "u2")
    source = open_source(write_slices(tmp_path / "v", array))
    assert source.axes == "zyx"
    np.testing.assert_array_equal(read_whole(source), array)
    np.testing.assert_array_equal(source.read((9, 3, 4), (11, 15, 16)), array[9:11, 3:15, 4:16])
    assert open_raw(tmp_path / "v", axes="tyx").dims == "tyx"


def test_pattern_chooses_among_the_files(tmp_path: Path) -> None:
    array = make_array((12, 20, 30), "u2")
    write_slices(tmp_path / "v", array)
    (tmp_path / "v" / "notes.txt").write_text("by hand")
    np.testing.assert_array_equal(read_whole(open_source(f"{tmp_path}/v/z1*.tif")), array[[1, 10, 11]])
    with pytest.raises(VolumeError, match="no files of slices"):
        open_source(f"{tmp_path}/v/y*.tif")
    with pytest.raises(VolumeError, match=r"it names \.txt, too"):
        open_source(f"{tmp_path}/v/*")


def test_colour_slices_keep_their_channels(tmp_path: Path) -> None:
    array = make_array((3, 20, 30, 3), "u1")
    source = open_source(write_slices(tmp_path / "v", array, "png"))
    assert source.axes == "zyxc"
    np.testing.assert_array_equal(read_whole(source), array)


@pytest.mark.parametrize(("number", "error"), [(11, VolumeError), (5, ReadError)], ids=["last", "middle"])
@pytest.mark.parametrize("odd", [make_array((20, 31), "u2"), make_array((20, 30), "u1")], ids=["shape", "type"])
def test_slices_that_differ_are_refused(tmp_path: Path, number: int, error: type[Exception], odd: Array) -> None:
    path = write_slices(tmp_path / "v", make_array((12, 20, 30), "u2"))
    tifffile.imwrite(path / f"z{number}.tif", odd)
    with pytest.raises(error, match=rf"z{number}\.tif"):
        read_whole(open_source(path))


def test_formats_are_not_mixed(tmp_path: Path) -> None:
    write_slices(tmp_path / "v", make_array((3, 20, 30), "u2"))
    write_slices(tmp_path / "v", make_array((3, 20, 30), "u1"), "png")
    with pytest.raises(VolumeError, match="several formats; choose with a pattern"):
        open_source(tmp_path / "v")


def test_slice_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = write_slices(tmp_path / "v", make_array((3, 20, 30), "u2"))
    (path / "z1.tif").rename(tmp_path / "z1.tif")
    (path / "z1.tif").symlink_to(tmp_path / "z1.tif")
    with pytest.raises(VolumeError, match=r"z1\.tif' leads out of the folder"):
        open_source(path)


def test_slice_that_appears_later_is_a_read_error(tmp_path: Path) -> None:
    path = write_slices(tmp_path / "v", make_array((3, 20, 30), "u2"))
    source = open_source(path)
    write_slices(path, make_array((4, 20, 30), "u2"))
    with pytest.raises(ReadError, match="changed after it was opened"):
        read_whole(source)
