"""``voxelforest train`` as a person meets it: files in, a project out, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline import open_project, samples
from tests.commands import run_here


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A made volume and scribbles on it, as TIFF."""
    sample = samples.tissue((12, 64, 64))
    tifffile.imwrite(tmp_path / "raw.tif", sample.raw, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "drawn.tif", samples.scribbles(sample.truth, 60), metadata={"axes": "ZYX"})
    return tmp_path / "raw.tif", tmp_path / "drawn.tif"


def test_train_then_predict_then_train_again(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, drawn = files
    out = tmp_path / "new.ilp"
    first = run_here(capsys, "train", raw, drawn, out, "--names", "Vessel,Tissue,Membrane,Nucleus", "--trees", 10)
    assert first.code == 0, first.err
    text = "\n".join(first.out)
    for word in ("Nucleus", "What mattered most", "Gaussian Smoothing", "voxelforest predict"):
        assert word in text
    assert run_here(capsys, "predict", out, raw, tmp_path / "prob.npy").code == 0
    assert np.load(tmp_path / "prob.npy").shape == (12, 64, 64, 4)
    again = run_here(capsys, "train", raw, out, tmp_path / "again.ilp", "--trees", 10, "--json")
    assert json.loads("\n".join(again.out))["digest"] == open_project(out).digest


def test_a_picture_and_labels_in_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 50, (40, 50)).astype(np.uint8)
    raw[:, 25:] += 100
    drawn = np.zeros((40, 50), np.uint8)
    drawn[5:9, 3:20], drawn[5:9, 30:45] = 1, 2
    for name, image in (("raw", raw), ("drawn", drawn)):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    arguments = (tmp_path / "raw.png", tmp_path / "drawn.png", tmp_path / "new.ilp", "--features", "light", "--json")
    document = json.loads("\n".join(run_here(capsys, "train", *arguments).out))
    assert document["score"] > 0.95
    assert [(c["name"], c["voxels"]) for c in document["classes"]] == [("Label 1", 68), ("Label 2", 60)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--scales", "1;2"], "numbers with commas"),
        (["--features", "lite"], "did you mean light"),
        (["--trees", "0"], "0 trees"),
        (["--names", "a"], "for labels up to"),
        (["--axes", "zy"], "axes"),
    ],
)
def test_wrong_options_are_said_in_one_line(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    outcome = run_here(capsys, "train", *files, tmp_path / "new.ilp", *options)
    assert outcome.code == 2
    assert says in outcome.err[-1]
    assert not (tmp_path / "new.ilp").exists()


def test_nothing_is_replaced_unasked_and_before_the_work(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.ilp").write_text("mine")
    refused = run_here(capsys, "train", *files, tmp_path / "mine.ilp")
    assert (refused.code, (tmp_path / "mine.ilp").read_text()) == (2, "mine")
    assert refused.err == [f"voxelforest: {tmp_path / 'mine.ilp'} exists; choose another name or --overwrite"]
    assert "there is no folder" in run_here(capsys, "train", *files, tmp_path / "no" / "new.ilp").err[-1]
    assert "does not end in .ilp" in run_here(capsys, "train", *files, tmp_path / "new.h5").err[-1]
    assert run_here(capsys, "train", *files, tmp_path / "mine.ilp", "--overwrite", "--trees", 3).code == 0
    assert open_project(tmp_path / "mine.ilp").stages[0].forest.n_trees == 3


def test_labels_of_another_image_are_refused(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "other.npy", np.ones((12, 64, 60), np.uint8))
    outcome = run_here(capsys, "train", files[0], tmp_path / "other.npy", tmp_path / "new.ilp")
    assert outcome.code == 2
    assert "1x12x64x60 for an image of 1x12x64x64" in outcome.err[-1]
