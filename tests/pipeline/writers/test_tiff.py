"""TIFF outputs as tifffile, Pillow and a reader of plain bytes see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.errors import StoreError
from pipeline.images import ImageSpec
from pipeline.volume import open_raw
from pipeline.writers import tiff
from pipeline.writers.layout import Picture
from tests.outputs import begin, make_spec, make_values, write_all

LENGTHS = {"t": 2, "c": 3, "z": 9, "y": 35, "x": 33}
DIMS = ["yx", "cyx", "zyx", "czyx", "tyx", "tcyx", "tzyx", "tczyx"]
NAMES = ("Nucleus", "Membrane", "Rest")


def specify(dims: str, **changes: Any) -> ImageSpec:
    return make_spec(tuple(LENGTHS[a] for a in dims), dims, **changes)


def make_file(folder: Path, spec: ImageSpec, name: str = "out.tif") -> np.ndarray[Any, Any]:
    values = make_values(spec)
    write_all(begin(folder / name, spec), {spec.name: values})
    return values


def in_pages(spec: ImageSpec, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The values as TIFF orders them, (t, z, c, y, x)."""
    lengths = [LENGTHS[a] if a in spec.dims else 1 for a in "tczyx"]
    return values.reshape(lengths).swapaxes(1, 2)


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "uint16", "uint32"])
def test_tifffile_sees_values_and_axes(tmp_path: Path, dims: str, dtype: str) -> None:
    spec = specify(dims, dtype=dtype)
    values = make_file(tmp_path, spec)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert (file.is_imagej, file.is_ome) == ((False, True) if dtype == "uint32" else (True, False))
        assert not file.is_bigtiff
        series = file.series[0]
        assert series.axes == "".join(a for a in "TZCYX" if a.lower() in dims)
        assert series.dtype == spec.dtype
        assert np.array_equal(series.asarray(), in_pages(spec, values).squeeze())
        assert len(file.pages) == np.prod([LENGTHS[a] for a in dims if a in "tzc"])


@pytest.mark.parametrize("dtype", ["float32", "uint8", "uint16"])
def test_every_page_is_readable_for_pillow(tmp_path: Path, dtype: str) -> None:
    spec = specify("tczyx", dtype=dtype)
    planes = in_pages(spec, make_file(tmp_path, spec)).reshape(-1, 35, 33)
    with Image.open(tmp_path / "out.tif") as picture:
        assert getattr(picture, "n_frames", 1) == len(planes)
        for number, plane in enumerate(planes):
            picture.seek(number)
            assert np.array_equal(np.asarray(picture), plane)


def test_imagej_finds_its_hyperstack_calibration_and_names(tmp_path: Path) -> None:
    spec = specify(
        "tczyx",
        spacing={"t": 30.0, "z": 500.0, "y": 120.0, "x": 125.0},
        units={"t": "second", "z": "nanometer", "y": "nanometer", "x": "nanometer"},
        channel_names=NAMES,
        channel_colors=((255, 0, 0), (0, 255, 0), (0, 0, 51)),
        value_range=(0.0, 1.0),
        origin={"x": 64.0},
    )
    make_file(tmp_path, spec)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        found = file.imagej_metadata
        assert found is not None
        assert (found["frames"], found["slices"], found["channels"], found["images"]) == (2, 9, 3, 54)
        assert (found["hyperstack"], found["mode"]) == (True, "composite")
        assert (found["unit"], found["spacing"], found["finterval"], found["xorigin"]) == ("um", 0.5, 30.0, -64.0)
        assert (found["min"], found["max"], found["Ranges"]) == (0.0, 1.0, (0.0, 1.0) * 3)
        assert found["Labels"] == list(NAMES) * 18
        assert found["Info"] == "probabilities 1: Nucleus\nprobabilities 2: Membrane\nprobabilities 3: Rest"
        assert [lut[:, -1].tolist() for lut in found["LUTs"]] == [[255, 0, 0], [0, 255, 0], [0, 0, 51]]
        step = {a: 1 / np.divide(*file.pages.first.tags[f"{a}Resolution"].value) for a in "XY"}
        assert step == pytest.approx({"X": 0.125, "Y": 0.12})
        assert file.pages.first.tags["ResolutionUnit"].value == 1


def test_ome_finds_sizes_names_and_calibration(tmp_path: Path) -> None:
    spec = specify(
        "czyx",
        dtype="uint32",
        spacing={"z": 2.0, "y": 0.5, "x": 0.5},
        units=dict.fromkeys("zyx", "micrometer"),
        channel_names=NAMES,
        channel_colors=((255, 0, 0), (0, 255, 0), (0, 0, 255)),
    )
    make_file(tmp_path, spec, "out.tiff")
    with tifffile.TiffFile(tmp_path / "out.tiff") as file:
        assert file.ome_metadata is not None
        image = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
    pixels = image["Pixels"]
    assert image["Name"] == "probabilities"
    assert (pixels["DimensionOrder"], pixels["Type"]) == ("XYCZT", "uint32")
    assert [pixels[f"Size{a}"] for a in "TZCYX"] == [1, 9, 3, 35, 33]
    assert [pixels[f"PhysicalSize{a}"] for a in "ZYX"] == [2.0, 0.5, 0.5]
    assert {pixels[f"PhysicalSize{a}Unit"] for a in "ZYX"} == {"µm"}
    assert [channel["Name"] for channel in pixels["Channel"]] == list(NAMES)
    assert [channel["Color"] & 0xFFFFFFFF for channel in pixels["Channel"]] == [0xFF0000FF, 0x00FF00FF, 0x0000FFFF]


def test_beyond_four_gibibytes_it_is_a_big_ome_tiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "CLASSIC_BYTES", 50_000)
    spec = specify("czyx", dtype="uint16", spacing={"z": 2.0}, channel_names=NAMES)
    values = make_file(tmp_path, spec)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.is_bigtiff
        assert file.is_ome
        assert file.series[0].axes == "ZCYX"
        assert np.array_equal(file.asarray(), in_pages(spec, values)[0])


@pytest.mark.parametrize(
    ("shape", "dtype", "imagej"),
    [
        ((1, 2000, 1024, 1024), "uint16", True),
        ((1, 2040, 1024, 1024), "uint16", False),
        ((200_000, 150, 130), "uint8", True),
        ((210_000, 150, 130), "uint8", False),  # what pages take besides their values counts
        ((10, 64, 64), "uint32", False),
    ],
)
def test_kind_is_a_matter_of_size_and_type(shape: tuple[int, ...], dtype: str, imagej: bool) -> None:
    spec = make_spec(shape, "czyx"[-len(shape) :], dtype=dtype)
    assert tiff.is_imagej(Picture(spec, "tzcyx", {})) is imagej


def test_values_lie_one_after_the_other(tmp_path: Path) -> None:
    spec = specify("czyx")
    values = make_file(tmp_path, spec)
    mapped = tifffile.memmap(tmp_path / "out.tif", mode="r")
    assert np.array_equal(mapped, in_pages(spec, values)[0])


def test_type_that_no_tiff_reader_knows_is_refused_before_work(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"not uint64; write .zarr or .h5"):
        begin(tmp_path / "out.tif", specify("zyx", dtype="uint64", reduce="stride"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_our_own_reader_takes_axes_values_and_calibration(tmp_path: Path, dims: str, dtype: str) -> None:
    spacing = {"t": 30.0, "z": 0.5, "y": 0.12, "x": 0.125}
    units = {"t": "second", **dict.fromkeys("zyx", "micrometer")}
    spec = specify(dims, dtype=dtype, spacing=spacing, units=units)
    values = make_file(tmp_path, spec)
    volume = open_raw(tmp_path / "out.tif")
    assert volume.dims == dims
    assert volume.spacing == pytest.approx({a: v for a, v in spacing.items() if a in dims})
    assert volume.units == {a: v for a, v in units.items() if a in dims}
    assert np.array_equal(volume[...], values)
