"""OME-TIFF in several files, against what tifffile reads of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pipeline.errors import VolumeError
from pipeline.formats import open_source
from pipeline.formats.handles import close_handles
from tests.pipeline.formats.contract import make_array, read_whole

ARRAY = make_array((2, 3, 4, 21, 33), "u2")  # t c z y x
NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def write_spread(folder: Path, *, renamed: dict[str, str] | None = None, **options: Any) -> list[Path]:
    """A file for each time and channel, which holds its planes along z from the last to the first."""
    names = {(t, c): f"v_t{t}_c{c}.ome.tif" for t in range(2) for c in range(3)}
    blocks = "".join(
        f'<TiffData FirstT="{t}" FirstC="{c}" FirstZ="{z}" IFD="{3 - z}" PlaneCount="1">'
        f'<UUID FileName="{(renamed or {}).get(name, name)}">urn:uuid:{t}{c}</UUID></TiffData>'
        for (t, c), name in names.items()
        for z in range(4)
    )
    for (t, c), name in names.items():
        text = (
            f'<?xml version="1.0"?><OME xmlns="{NAMESPACE}" UUID="urn:uuid:{t}{c}"><Image ID="Image:0" Name="cells">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="33" SizeY="21" SizeZ="4" SizeC="3" '
            'SizeT="2" PhysicalSizeX="0.2" PhysicalSizeY="0.3" PhysicalSizeZ="1.5" BigEndian="false">'
            f'<Channel ID="Channel:0:0"/>{blocks}</Pixels></Image></OME>'
        )
        planes = np.ascontiguousarray(ARRAY[t, c, ::-1])
        tifffile.imwrite(folder / name, planes, description=text, metadata=None, photometric="minisblack", **options)
    return [folder / name for name in names.values()]


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (16, 16)}, {"byteorder": ">"}])
def test_any_of_the_files_gives_all_planes(tmp_path: Path, options: Any) -> None:
    for path in write_spread(tmp_path, **options)[::5]:
        source = open_source(path)
        assert (source.axes, source.shape) == ("tczyx", ARRAY.shape)
        assert source.spacing == {"x": 0.2, "y": 0.3, "z": 1.5}
        np.testing.assert_array_equal(read_whole(source), ARRAY)
        np.testing.assert_array_equal(source.read((1, 1, 1, 5, 7), (2, 3, 4, 9, 30)), ARRAY[1:2, 1:3, 1:4, 5:9, 7:30])
        np.testing.assert_array_equal(tifffile.imread(path), ARRAY)
    close_handles()


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (16, 16)}])
def test_levels_of_each_file_make_up_those_of_the_image(tmp_path: Path, options: Any) -> None:
    small, smaller = (np.ascontiguousarray(ARRAY[..., ::n, ::n]) for n in (2, 4))
    texts = {path: tifffile.tiffcomment(path) for path in write_spread(tmp_path)}
    for number, (path, text) in enumerate(texts.items()):
        at = divmod(number, 3)
        with tifffile.TiffWriter(path) as file:
            for z in reversed(range(4)):
                words: Any = {"description": text if z == 3 else "", "metadata": None, "photometric": "minisblack"}
                file.write(ARRAY[at][z], subifds=2, **words, **options)
                for level in (small, smaller):
                    file.write(level[at][z], subfiletype=1, metadata=None, photometric="minisblack", **options)
    for path in (min(texts), max(texts)):
        np.testing.assert_array_equal(read_whole(open_source(path)), ARRAY)
        for number, expected in ((1, small), (2, smaller)):
            source = open_source(path, level=number)
            np.testing.assert_array_equal(read_whole(source), expected)
            factor = 2.0**number
            assert source.spacing == {"x": 0.2 * factor, "y": pytest.approx(0.3 * factor), "z": 1.5}
            np.testing.assert_array_equal(source.read((1, 2, 0, 1, 2), (2, 3, 4, 4, 7)), expected[1:, 2:, :, 1:4, 2:7])
    with pytest.raises(VolumeError, match="no level 3; there are 0 to 2"):
        open_source(path, level=3)
    close_handles()


def test_level_that_one_file_lacks_is_named_when_it_is_read(tmp_path: Path) -> None:
    first, *_ = write_spread(tmp_path)
    text = tifffile.tiffcomment(first)
    with tifffile.TiffWriter(first) as file:
        for z in reversed(range(4)):
            words: Any = {"description": text if z == 3 else "", "metadata": None, "photometric": "minisblack"}
            file.write(ARRAY[0, 0, z], subifds=1, **words)
            file.write(ARRAY[0, 0, z, ::2, ::2], subfiletype=1, metadata=None, photometric="minisblack")
    source = open_source(first, level=1)
    np.testing.assert_array_equal(source.read((0,) * 5, (1, 1, 4, 11, 17)), ARRAY[:1, :1, :, ::2, ::2])
    with pytest.raises(VolumeError, match=r"v_t0_c1\.ome\.tif: no level 1; there are 0 to 0"):
        read_whole(source)
    close_handles()


def test_words_may_lie_in_a_file_of_their_own(tmp_path: Path) -> None:
    first, *_ = write_spread(tmp_path)
    text = tifffile.tiffcomment(first)
    (tmp_path / "v.companion.ome").write_text(str(text))
    pointer = f'<OME xmlns="{NAMESPACE}" UUID="urn:uuid:00"><BinaryOnly MetadataFile="v.companion.ome" UUID="u"/></OME>'
    tifffile.imwrite(
        first, np.ascontiguousarray(ARRAY[0, 0, ::-1]), description=pointer, metadata=None, photometric="minisblack"
    )
    np.testing.assert_array_equal(read_whole(open_source(first)), ARRAY)
    close_handles()


def test_missing_file_is_named(tmp_path: Path) -> None:
    first, second, *_ = write_spread(tmp_path)
    second.unlink()
    with pytest.raises(VolumeError, match=r"has planes in v_t0_c1\.ome\.tif, which is not there"):
        open_source(first)


@pytest.mark.parametrize("name", ["../v.ome.tif", "/etc/passwd", "sub/v.ome.tif", "..", ""])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    first, *_ = write_spread(tmp_path, renamed={"v_t1_c0.ome.tif": name})
    with pytest.raises(VolumeError, match="leads out of the folder"):
        open_source(first)


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    first, second, *_ = write_spread(tmp_path / "a")
    shutil.move(second, tmp_path / "elsewhere.tif")
    second.symlink_to(tmp_path / "elsewhere.tif")
    with pytest.raises(VolumeError, match="leads out of the folder"):
        open_source(first)


def test_file_of_another_size_is_refused_when_it_is_read(tmp_path: Path) -> None:
    first, *_, last = write_spread(tmp_path)
    tifffile.imwrite(last, np.zeros((4, 9, 9), "u2"))
    source = open_source(first)
    np.testing.assert_array_equal(source.read((0,) * 5, (1, 3, 4, 21, 33)), ARRAY[:1])
    with pytest.raises(VolumeError, match="differ from those of"):
        read_whole(source)
    tifffile.imwrite(last, ARRAY[1, 2, :2])
    with pytest.raises(VolumeError, match="has 2 pages, but page 3 is wanted"):
        read_whole(open_source(first))
    close_handles()


def test_folder_of_its_files_is_no_stack_of_slices(tmp_path: Path) -> None:
    write_spread(tmp_path)
    with pytest.raises(VolumeError, match="open this file, not its folder"):
        open_source(tmp_path)


def test_more_planes_than_allowed_are_refused_before_they_are_listed(tmp_path: Path) -> None:
    first, *_ = write_spread(tmp_path)
    text = str(tifffile.tiffcomment(first)).replace('SizeZ="4"', 'SizeZ="400000000"')
    tifffile.imwrite(first, ARRAY[0, 0], description=text, metadata=None, photometric="minisblack")
    with pytest.raises(VolumeError, match="VOXELFOREST_TIFF_PAGES"):
        open_source(first)
