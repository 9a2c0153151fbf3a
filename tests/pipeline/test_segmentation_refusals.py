"""``voxelforest segment``: what is refused, and that nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import pytest

from tests.commands import segment

PROJECT, RAW = "projects/pc_3d.ilp", "in_3d_u8.npy"

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture
def job(golden_dir: Path) -> tuple[Path, Path]:
    return golden_dir / PROJECT, golden_dir / RAW


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--channel", "Label 9"), "there are: 0 Label 1, 1 Label 2, 2 Label 3"),
        (("--channel", "3"), "there are: 0 Label 1"),
        (("--high", "0.4", "--low", "0.6"), "low threshold 0.6 is above the high one, 0.4"),
        (("--min-size", "-1"), "min_size is -1; it must be >= 0"),
        (("--min-size", "9", "--max-size", "8"), "min_size 9 is above max_size 8"),
        (("--sigma", "1,2"), "sigma '1,2'; give one number, or one for each axis as z,y,x"),
        (("--sigma", "30"), "choose a smaller sigma"),
        (("--threshold", "0.5", "--high", "0.8"), "--threshold is for simple thresholding"),
        (("--method", "graphcut"), "method 'graphcut'; allowed are simple and hysteresis"),
        (("--connectivity", "ful"), "connectivity 'ful'; allowed are face and full"),
        (("--table", "objects.xlsx"), "ends in .csv or .parquet"),
        (("--preview", "out.jpg"), "ends in .png"),
        (("--raw", "x.npy"), "--raw goes with --from"),
        (("--resume", "--overwrite"), "exclude each other"),
        (("--stage", "2"), "stage 2"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(
    job: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: tuple[str, ...], said: str
) -> None:
    outcome = segment(capsys, *job, tmp_path / "out.zarr", *asked, code=2)
    assert said in outcome.document_of_error["message"]
    assert outcome.out == []
    assert list(tmp_path.iterdir()) == []


def test_wrong_number_of_paths_says_what_is_wanted(
    job: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "PROJECT RAW OUT" in segment(capsys, *job, code=2).document_of_error["message"]
    refused = segment(capsys, "--from", job[1], *job, tmp_path / "o.zarr", code=2)
    assert "OUT alone" in refused.document_of_error["message"]


def test_finished_output_without_its_table_is_said(
    job: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segment(capsys, *job, tmp_path / "out.zarr")
    refused = segment(capsys, *job, tmp_path / "out.zarr", "--table", tmp_path / "t.csv", "--resume", code=2)
    assert "t.csv not there: --overwrite makes all" in refused.document_of_error["message"]
    segment(capsys, *job, tmp_path / "out.zarr", "--table", tmp_path / "t.csv", "--overwrite")
    again = segment(capsys, *job, tmp_path / "out.zarr", "--table", tmp_path / "t.csv", "--resume")
    assert again.document["reused"] is True
    assert again.document["objects"] == len(pandas.read_csv(tmp_path / "t.csv"))


def test_more_objects_than_a_picture_can_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prob = np.zeros((520, 520), np.float32)
    prob[::2, ::2] = 1
    np.save(tmp_path / "map.npy", prob)
    given = ("--from", tmp_path / "map.npy", "--axes", "yx", "--sigma", 0, "--min-size", 1)
    refused = segment(capsys, *given, tmp_path / "out.png", code=2)
    assert "write .zarr or .h5" in refused.document_of_error["message"]
    assert not (tmp_path / "out.png").exists()
