"""``voxelforest predict`` with several volumes, masks and every kind of output."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from pipeline.output import read_record
from tests.commands import run_here

PROJECT_2D, PROJECT_3D = "projects/pc_2d.ilp", "projects/pc_3d.ilp"


@pytest.fixture
def pictures(golden_dir: Path, tmp_path: Path) -> Path:
    """A folder with three pictures, one of them cut off."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    values = np.load(golden_dir / "in_2d_u8.npy")
    for number, name in enumerate(("z1", "z2", "z10")):
        Image.fromarray(np.roll(values, number)).save(folder / f"{name}.png")
    whole = (folder / "z2.png").read_bytes()
    (folder / "z2.png").write_bytes(whole[: len(whole) // 2])
    return folder


def test_one_that_is_damaged_does_not_stop_the_others(
    golden_dir: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("predict", golden_dir / PROJECT_2D, f"{pictures}/*.png", f"{tmp_path}/new/{{nickname}}.h5", "--json")
    outcome = run_here(capsys, *arguments)
    assert outcome.code == 1
    found = outcome.document
    assert found["failed"] == 1
    assert [Path(r["input"]).name for r in found["results"]] == ["z1.png", "z2.png", "z10.png"]
    assert [r["error"] is None for r in found["results"]] == [True, False, True]
    assert "z2.png" in found["results"][1]["error"]
    assert {path.name for path in (tmp_path / "new").iterdir()} >= {"z1.h5", "z10.h5"}
    assert not (tmp_path / "new" / "z2.h5").exists()


def test_repaired_batch_goes_on_where_it_was(
    golden_dir: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("predict", golden_dir / PROJECT_2D, f"{pictures}/*.png", f"{tmp_path}/new/", "--resume")
    first = run_here(capsys, *arguments)
    assert first.code == 1
    assert "3 volumes, 1 failed" in first.out[0]
    Image.fromarray(np.load(golden_dir / "in_2d_u8.npy")).save(pictures / "z2.png")
    for left in (tmp_path / "new").glob("z2*"):
        shutil.rmtree(left)
    again = run_here(capsys, *arguments, "--json")
    assert again.code == 0
    assert [r["reused"] for r in again.document["results"]] == [True, False, True]


def test_several_volumes_into_a_folder(golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results").mkdir()
    raws = []
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.load(golden_dir / "in_2d_u8.npy"))
        raws.append(tmp_path / f"{name}.npy")
    outcome = run_here(capsys, "predict", golden_dir / PROJECT_2D, *raws, tmp_path / "results", "--axes", "yx")
    assert outcome.code == 0
    assert "2 volumes, none failed" in outcome.out[0]
    golden = np.load(golden_dir / "probabilities.npz")["prob_pc_2d"]
    for name in ("a", "b"):
        found = zarr.open_array(tmp_path / "results" / f"{name}_probabilities.zarr", path="0", mode="r")
        assert np.allclose(np.moveaxis(np.asarray(found[...]), 0, -1), golden, atol=1e-6)


def test_two_volumes_and_one_file_are_refused(
    golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = golden_dir / "in_2d_u8.npy"
    outcome = run_here(capsys, "predict", golden_dir / PROJECT_2D, raw, raw, tmp_path / "out.zarr")
    assert outcome.code == 2
    assert "give a folder" in outcome.err[-1]
    assert list(tmp_path.iterdir()) == []


def test_two_results_into_single_files_are_refused_once(
    golden_dir: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"{tmp_path}/new/{{nickname}}.h5"
    both = ("--output", "probabilities", "--output", "segmentation")
    outcome = run_here(capsys, "predict", golden_dir / PROJECT_2D, f"{pictures}/*.png", out, *both)
    assert outcome.code == 2
    said = ".h5 holds one image, 2 were asked for (probabilities, segmentation); use .zarr [names]"
    assert outcome.err == [f"voxelforest: {said}"]
    assert not (tmp_path / "new").exists()


def test_results_are_zero_outside_the_mask(
    golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], small_blocks: None
) -> None:
    raw = golden_dir / "in_3d_u8.npy"
    inside = np.zeros((37, 40, 38), np.uint8)
    inside[3:20, 5:33, :17] = 255
    np.save(tmp_path / "mask.npy", inside)
    command = ("predict", golden_dir / PROJECT_3D, raw)
    outputs = ("--output", "probabilities", "--output", "segmentation")
    assert run_here(capsys, *command, tmp_path / "whole.zarr", *outputs).code == 0
    masked = run_here(capsys, *command, tmp_path / "masked.zarr", *outputs, "--mask", tmp_path / "mask.npy")
    assert masked.code == 0
    for name in ("probabilities", "segmentation"):
        whole, found = (
            np.asarray(zarr.open_array(tmp_path / f"{out}.zarr", path=f"{name}/0", mode="r")[...])
            for out in ("whole", "masked")
        )
        assert np.array_equal(found, whole * (inside > 0))
    records = [read_record(tmp_path / f"{out}.zarr") for out in ("whole", "masked")]
    assert records[0]["digest"] != records[1]["digest"]  # type: ignore[index]
    assert records[1]["provenance"]["mask"] == str(tmp_path / "mask.npy")  # type: ignore[index]
    refused = run_here(capsys, *command, tmp_path / "masked.zarr", *outputs, "--resume")
    assert refused.code == 2
    assert "its digest is" in refused.err[-1]


def test_mask_of_another_shape_is_one_line(
    golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = golden_dir / "in_3d_u8.npy"
    np.save(tmp_path / "mask.npy", np.ones((37, 40, 37), np.uint8))
    options = (tmp_path / "out.zarr", "--mask", tmp_path / "mask.npy")
    outcome = run_here(capsys, "predict", golden_dir / PROJECT_3D, raw, *options)
    assert outcome.code == 2
    assert outcome.err[-1].endswith("[mask]")
    assert not (tmp_path / "out.zarr").exists()


def test_mask_is_never_written_to(golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = golden_dir / "in_3d_u8.npy"
    np.save(tmp_path / "mask.npy", np.ones((37, 40, 38), np.uint8))
    before = (tmp_path / "mask.npy").read_bytes()
    options = (tmp_path / "mask.npy", "--mask", tmp_path / "mask.npy", "--overwrite")
    outcome = run_here(capsys, "predict", golden_dir / PROJECT_3D, raw, *options)
    assert outcome.code == 2
    assert "is the input" in outcome.err[-1]
    assert (tmp_path / "mask.npy").read_bytes() == before


def test_every_kind_of_file_holds_the_golden_answer(
    golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = np.load(golden_dir / "probabilities.npz")["prob_pc_2d"]
    command = ("predict", golden_dir / PROJECT_2D, golden_dir / "in_2d_u8.npy")
    assert run_here(capsys, *command, tmp_path / "out.tif").code == 0
    assert run_here(capsys, *command, tmp_path / "out.h5", "--compress").code == 0
    assert run_here(capsys, *command, tmp_path / "out.png", "--dtype", "uint8").code == 0
    found = tifffile.imread(tmp_path / "out.tif")
    assert np.allclose(np.moveaxis(found, 0, -1), golden, atol=1e-6)
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["exported_data"].compression == "gzip"
        assert np.allclose(file["exported_data"], golden, atol=1e-6)
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.mode == {2: "LA", 3: "RGB"}[golden.shape[-1]]
        assert np.abs(np.asarray(picture) / 255 - golden).max() < 0.5001 / 255


@pytest.mark.parametrize("name", ["out.tif", "out.png"])
def test_finished_file_is_recognised(
    golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    command = ("predict", golden_dir / PROJECT_2D, golden_dir / "in_2d_u8.npy", tmp_path / name, "--dtype", "uint8")
    assert run_here(capsys, *command, "--json").document["reused"] is False
    assert run_here(capsys, *command).code == 2
    assert run_here(capsys, *command, "--resume", "--json").document["reused"] is True


def test_floats_in_png_are_refused_with_advice(
    golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run_here(capsys, "predict", golden_dir / PROJECT_2D, golden_dir / "in_2d_u8.npy", tmp_path / "out.png")
    assert outcome.code == 2
    assert "add --dtype uint8" in outcome.err[-1]
