"""``voxelforest segment``: the objects of golden projects and of made maps, in every kind of output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas
import pytest
import tifffile
import xarray
import zarr
from numpy.typing import NDArray
from ome_zarr_models.v04.image import Image as Image04
from ome_zarr_models.v04.image_label import ImageLabel as Labels04
from ome_zarr_models.v05.image import Image as Image05
from ome_zarr_models.v05.image_label import ImageLabel as Labels05
from PIL import Image
from scipy import ndimage

from pipeline import measure
from pipeline.labelling import label_frame
from pipeline.thresholding import Thresholding
from pipeline.volume import open_raw
from tests.commands import Outcome, run_here, segment
from tests.outputs import contents, read_with_tensorstore

Array = NDArray[Any]
PROJECT, RAW = "projects/pc_3d.ilp", "in_3d_u8.npy"

pytestmark = pytest.mark.usefixtures("small_blocks")


def notes(outcome: Outcome) -> str:
    return "\n".join(event.get("text", "") for event in map(json.loads, outcome.err))


def read_labels(path: Path) -> Array:
    return np.asarray(zarr.open_array(path / "labels" / "objects" / "0", mode="r")[...])


def golden_map(golden_dir: Path) -> Array:
    """Probabilities of the 3-D golden project, (c, z, y, x)."""
    return np.moveaxis(np.load(golden_dir / "probabilities.npz")["prob_pc_3d"], -1, 0)


@pytest.fixture(scope="module")
def blobs() -> Array:
    """A map of two channels, (c, z, y, x), with objects of all sizes that reach across blocks."""
    noise = np.random.default_rng(5).random((2, 40, 50, 45), np.float32)
    smooth = np.stack([ndimage.gaussian_filter(channel, 2) for channel in noise])
    low, high = smooth.min(), smooth.max()
    return np.asarray((smooth - low) / (high - low), np.float32)


@pytest.fixture
def job(golden_dir: Path) -> tuple[Path, Path]:
    return golden_dir / PROJECT, golden_dir / RAW


def test_objects_are_those_of_the_whole_map(
    golden_dir: Path, job: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (
        "--channel",
        "Label 2",
        "--threshold",
        0.25,
        "--sigma",
        "0.5,0.4,0.6",
        "--min-size",
        4,
        "--max-size",
        15000,
    )
    outcome = segment(capsys, *job, tmp_path / "out.zarr", *asked)
    settings = Thresholding(channel=1, core_channel=1, low=0.25, sigma_zyx=(0.5, 0.4, 0.6), min_size=4, max_size=15000)
    expected, summary = label_frame(golden_map(golden_dir), settings)
    assert min(summary.kept, summary.too_small, summary.too_large) > 0
    assert np.array_equal(read_labels(tmp_path / "out.zarr"), expected)
    stored = zarr.open_array(tmp_path / "out.zarr" / "0", mode="r")[...]
    assert np.array_equal(stored, golden_map(golden_dir)[1:2])
    found = outcome.document
    assert (found["objects"], found["found"]) == (summary.kept, summary.found)
    assert found["removed"]["too_small"] == summary.too_small
    assert found["voxels"] == expected.size
    assert found["output"] == str(tmp_path / "out.zarr")
    assert found["peak_bytes"] > 0
    assert "simple, channel 1, threshold 0.25" in notes(outcome)
    assert "'Label 2' (ilastik's defaults, changed as asked)" in notes(outcome)
    assert str(summary) in notes(outcome)
    assert not (tmp_path / "out.zarr" / "scratch").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


def test_hysteresis_with_another_core_channel_and_all_neighbours(
    blobs: Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "map.npy", blobs)
    given = ("--from", tmp_path / "map.npy", "--axes", "czyx", tmp_path / "out.zarr", "--connectivity", "full")
    asked = ("--channel", 1, "--core-channel", 0, "--high", 0.7, "--low", 1.1)
    segment(capsys, *given, *asked, "--sigma", 0, "--min-size", 3, "--keep-ids")
    settings = Thresholding("hysteresis", 1, 0, 1.1, 0.7, (0, 0, 0), min_size=3)
    expected, summary = label_frame(blobs, settings, connectivity="full", renumber=False)
    assert summary.kept > 5
    assert summary.without_core > 0
    assert np.array_equal(read_labels(tmp_path / "out.zarr"), expected)


@pytest.mark.parametrize(("version", "image", "labels"), [("0.5", Image05, Labels05), ("0.4", Image04, Labels04)])
def test_zarr_is_what_ome_models_and_other_libraries_read(
    blobs: Array, tmp_path: Path, capsys: pytest.CaptureFixture[str], version: str, image: Any, labels: Any
) -> None:
    np.save(tmp_path / "map.npy", blobs)
    out = tmp_path / "out.zarr"
    segment(capsys, "--from", tmp_path / "map.npy", "--axes", "czyx", out, "--ome-version", version, "--sigma", 0)
    image.from_zarr(zarr.open_group(out, mode="r"))
    found = labels.from_zarr(zarr.open_group(out / "labels" / "objects", mode="r"))
    about = (found.attributes.ome if version == "0.5" else found.attributes).image_label
    assert about.source.image == "../../"
    expected, summary = label_frame(blobs, Thresholding(sigma_zyx=(0, 0, 0)))
    assert len(about.colors) == summary.kept
    listed: Any = zarr.open_group(out / "labels", mode="r").attrs.asdict()
    assert (listed["ome"] if version == "0.5" else listed)["labels"] == ["objects"]
    assert np.array_equal(read_with_tensorstore(out / "labels" / "objects" / "0", version), expected)
    coarse = zarr.open_array(out / "labels" / "objects" / "1", mode="r")
    assert np.array_equal(coarse[...], expected[::2, ::2, ::2])
    assert np.array_equal(open_raw(out / "labels" / "objects")[...], expected)
    assert np.array_equal(open_raw(out)[...], blobs[:1])


@pytest.mark.parametrize("name", ["out.h5", "out.tif", "out.npy"])
def test_single_files_hold_the_labels_alone(
    blobs: Array, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    np.save(tmp_path / "map.npy", blobs)
    outcome = segment(capsys, "--from", tmp_path / "map.npy", "--axes", "czyx", tmp_path / name, "--threshold", 0.6)
    expected, _ = label_frame(blobs, Thresholding(low=0.6))
    if name.endswith("h5"):
        with h5py.File(tmp_path / name) as file:
            data = file["exported_data"]
            assert [tag["key"] for tag in json.loads(data.attrs["axistags"])["axes"]] == list("zyxc")
            found = data[..., 0]
    else:
        found = tifffile.imread(tmp_path / name) if name.endswith("tif") else np.load(tmp_path / name)[..., 0]
    assert str(found.dtype) == ("uint32" if name.endswith("tif") else "uint64")
    assert np.array_equal(found, expected)
    assert [spec["name"] for spec in outcome.document["images"]] == ["objects"]
    assert sorted(path.name for path in tmp_path.iterdir() if "json" not in path.name) == ["map.npy", name]


def test_labels_of_a_picture(golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project, raw = golden_dir / "projects" / "pc_2d.ilp", golden_dir / "in_2d_u8.npy"
    segment(capsys, project, raw, tmp_path / "out.png", "--preview", tmp_path / "seen.png", "--sigma", "0.7")
    golden = np.moveaxis(np.load(golden_dir / "probabilities.npz")["prob_pc_2d"], -1, 0)[:, None]
    expected, summary = label_frame(golden, Thresholding(sigma_zyx=(1, 0.7, 0.7)))
    with Image.open(tmp_path / "out.png") as picture:
        assert np.array_equal(np.asarray(picture), expected[0])
    with Image.open(tmp_path / "seen.png") as seen:
        pixels = np.asarray(seen).astype(int)
    grey = (pixels[..., 0] == pixels[..., 1]) & (pixels[..., 1] == pixels[..., 2])
    assert summary.kept > 0
    assert np.array_equal(grey, expected[0] == 0) or (grey & (expected[0] > 0)).sum() == 0


def test_table_is_that_of_the_whole_image_wherever_it_comes_from(
    golden_dir: Path, job: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--channel", 1, "--threshold", 0.3, "--sigma", 0, "--min-size", 0, "--roi", "z=4:37,x=3:38")
    outcome = segment(capsys, *job, tmp_path / "out.zarr", *asked, "--table", tmp_path / "objects.csv")
    found = pandas.read_csv(tmp_path / "objects.csv")
    assert outcome.document["table"] == str(tmp_path / "objects.csv")
    assert outcome.document["objects"] == len(found) > 5
    labels = xarray.DataArray(read_labels(tmp_path / "out.zarr"), dims=("z", "y", "x"))
    raw = xarray.DataArray(np.load(job[1])[4:, :, 3:], dims=("z", "y", "x"))
    names = [f"Label {i}" for i in (1, 2, 3)]
    values = golden_map(golden_dir)[:, 4:, :, 3:]
    prob = xarray.DataArray(values, dims=("c", "z", "y", "x"), coords={"c": names})
    expected = measure(labels, raw, prob)
    expected["position_z"] += 4.0  # in the whole volume
    expected["position_x"] += 3.0
    pandas.testing.assert_frame_equal(found.astype(expected.dtypes), expected, check_exact=True)
    segment(capsys, *job, tmp_path / "out.h5", *asked, "--table", tmp_path / "objects.parquet")
    stored = pandas.read_parquet(tmp_path / "objects.parquet")
    pandas.testing.assert_frame_equal(stored, expected, check_exact=True)


def test_existing_prediction_is_taken_and_not_made_again(
    job: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, table = tmp_path / "out.zarr", tmp_path / "objects.csv"
    asked = ("--channel", 1, "--threshold", 0.4, "--table", table)
    segment(capsys, *job, out, *asked)
    wanted, rows = contents(out), table.read_bytes()
    wanted.pop("zarr.json")  # says that the later one replaced something
    assert run_here(capsys, "predict", *job, out, "--overwrite").code == 0
    assert "exists" in segment(capsys, *job, out, code=2).document_of_error["message"]
    taken = segment(capsys, *job, out, *asked, "--overwrite")
    assert "not predicted again" in notes(taken)
    assert not any(json.loads(line).get("name") == "predict" for line in taken.err)
    found = contents(out)
    assert found.pop("zarr.json")
    assert found == wanted
    assert table.read_bytes() == rows
    moved = segment(capsys, *job, out, "--channel", 1, "--threshold", 0.3, "--overwrite")
    assert "not predicted again" in notes(moved)
    assert "not predicted again" not in notes(segment(capsys, *job, out, "--channel", 2, "--overwrite"))
    assert segment(capsys, *job, out, "--channel", 2, "--resume").document["reused"] is True


@pytest.mark.parametrize("kind", ["ours", "ilastik", "plain"])
def test_maps_of_any_origin(
    golden_dir: Path, job: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    prob = golden_map(golden_dir)
    asked: tuple[object, ...]
    if kind == "ours":
        given, asked = tmp_path / "prob.zarr", ("--channel", "Label 2")
        assert run_here(capsys, "predict", *job, given).code == 0
    elif kind == "ilastik":
        given, asked = tmp_path / "prob.h5", ("--channel", 1)
        assert run_here(capsys, "predict", *job, given, "--dtype", "uint8").code == 0
        prob = np.rint(prob * np.float32(255)).astype(np.uint8)
    else:
        given, asked = tmp_path / "prob.npy", ("--channel", 1, "--axes", "xcyz")
        prob = np.rint(prob * np.float32(65535)).astype(np.uint16).astype(np.int32)
        np.save(given, prob.transpose(3, 0, 2, 1))
    drange = {"ours": None, "ilastik": (0, 255), "plain": (0, 2**31 - 1)}[kind]
    if kind == "plain":
        prob = prob / np.float32(2**31 - 1)
        asked = (*asked, "--threshold", 1e-5)
    outcome = segment(capsys, "--from", given, tmp_path / "out.zarr", *asked, "--min-size", 1, "--sigma", 0.7)
    low = 1e-5 if kind == "plain" else 0.5
    rules = Thresholding(channel=1, core_channel=1, low=low, sigma_zyx=(0.7,) * 3, min_size=1)
    if kind == "ilastik":
        rules = Thresholding(**{**vars(rules), "drange": drange})
    expected, summary = label_frame(prob, rules)
    assert summary.kept > 0
    assert np.array_equal(read_labels(tmp_path / "out.zarr"), expected)
    limits = "0 to 1" if drange is None else f"0 to {drange[1]:g}"
    assert f"{limits} stand for probabilities 0 to 1" in notes(outcome)


def test_raw_data_beside_a_map_is_measured(blobs: Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "map.npy", blobs[0])
    np.save(tmp_path / "raw.npy", np.random.default_rng(0).integers(0, 9, blobs.shape[1:], np.uint8))
    given = ("--from", tmp_path / "map.npy", "--axes", "zyx", tmp_path / "out.zarr")
    segment(capsys, *given, "--raw", tmp_path / "raw.npy", "--table", tmp_path / "t.csv")
    found = pandas.read_csv(tmp_path / "t.csv")
    assert {"raw_mean", "probability_mean"} <= set(found.columns)
    np.save(tmp_path / "raw.npy", np.zeros((40, 50, 44), np.uint8))
    refused = segment(capsys, *given, "--raw", tmp_path / "raw.npy", "--overwrite", code=2)
    assert "z=40 y=50 x=44, the probabilities are z=40 y=50 x=45" in refused.document_of_error["message"]


def test_nothing_is_written_over_an_input(blobs: Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(tmp_path / "map.h5", "w") as file:
        file["exported_data"] = blobs
    before = (tmp_path / "map.h5").read_bytes()
    refused = segment(capsys, "--from", tmp_path / "map.h5", tmp_path / "map.h5", "--axes", "czyx", code=2)
    assert "is the input" in refused.document_of_error["message"]
    assert (tmp_path / "map.h5").read_bytes() == before


def test_people_read_what_was_found(job: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run_here(capsys, "segment", *job, tmp_path / "out.zarr", "--preview", tmp_path / "p.png")
    assert outcome.code == 0
    first, counts, image, labels, preview, look = outcome.out
    assert "56,240 voxels" in first
    assert "objects; removed: " in counts
    assert (image.split(":")[0].strip(), labels.split(":")[0].strip()) == ("probabilities", "objects")
    assert preview.strip() == f"preview: {tmp_path / 'p.png'}"
    assert f"napari-ome-zarr {tmp_path / 'out.zarr'};" in look
