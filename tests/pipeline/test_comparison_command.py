"""``voxelforest compare`` as people and programs meet it, on golden answers and on those that ilastik stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.commands import Outcome, run_here
from tests.runs import make_request, run_quietly


def compare(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    outcome = run_here(capsys, "compare", *arguments, "--json")
    return outcome.code, json.loads("\n".join(outcome.out))


def compare_in_text(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    return run_here(capsys, "compare", *arguments)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Two stacks with one voxel apart by 0.5: z=2 y=3 x=4 c=1."""
    ours = np.random.default_rng(0).random((5, 20, 30, 2), dtype=np.float32) / 2
    theirs = ours.copy()
    theirs[2, 3, 4, 1] += 0.5
    np.save(tmp_path / "ours.npy", ours)
    np.save(tmp_path / "theirs.npy", theirs)
    return tmp_path / "ours.npy", tmp_path / "theirs.npy"


@pytest.mark.parametrize("project", ["pc_2d", "pc_3d", "pc_t_3d", "ac_2d"])
@pytest.mark.parametrize("suffix", ["zarr", "h5"])
def test_our_answer_is_the_golden_one(
    golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], project: str, suffix: str
) -> None:
    run_quietly(make_request(golden_dir, tmp_path / f"ours.{suffix}", project))
    name = "prob_ac_2d_stage2" if project == "ac_2d" else f"prob_{project}"
    golden = np.load(golden_dir / "probabilities.npz")[name]
    np.save(tmp_path / "golden.npy", golden)
    axes = {3: "yxc", 4: "zyxc", 5: "tzyxc"}[golden.ndim]
    code, found = compare(capsys, tmp_path / f"ours.{suffix}", tmp_path / "golden.npy", "--axes-theirs", axes)
    assert (code, found["within"], found["argmax_agreement"]) == (0, True, 1.0)
    assert found["max"] <= 1e-6


@pytest.mark.parametrize(
    ("project", "raw", "axes", "stored"),
    [
        ("PixelClass.ilp", "Data_1channel.png", "yx", "res-Data_1channel_pc1xyc.npy"),
        ("PixelClass3D.ilp", "Data_3D.npy", "zyxc", "res-Data_3D_pc3d.npy"),
        ("Autocontext_2D.ilp", "Data_1channel.png", "yx", "res-Data_1channel_ac2ds2.npy"),
    ],
)
@pytest.mark.parametrize("options", [["out.h5"], ["out.zarr", "--dtype", "uint8"]])
def test_our_answer_is_within_ilastiks_tolerance_of_its_own(
    ilastik_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    project: str,
    raw: str,
    axes: str,
    stored: str,
    options: list[str],
) -> None:
    out = tmp_path / options[0]
    done = run_here(capsys, "predict", ilastik_dir / project, ilastik_dir / raw, out, "--axes", axes, *options[1:])
    assert done.code == 0
    code, found = compare(capsys, out, ilastik_dir / stored)
    assert (code, found["within"]) == (0, True)
    assert found["differ_by"] == {"0.015 or more": 0, "0.15 or more": 0}


def test_outside_the_tolerance_is_one_with_the_worst_place(
    sides: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = compare(capsys, *sides)
    assert (code, found["within"]) == (1, False)
    assert found["max"] == pytest.approx(0.5)
    assert found["worst"][0]["at"] == {"c": 1, "z": 2, "y": 3, "x": 4}
    assert found["values"] == 6000


def test_tolerance_in_numbers_is_said_in_numbers(sides: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    code, found = compare(capsys, *sides, "--tolerance", "0.2")
    assert (code, found["tolerance"]) == (1, "0.2")
    assert found["differ_by"] == {"0.015 or more": 1, "0.15 or more": 1, "more than 0.2": 1}


def test_tables_say_the_same(sides: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    outcome = compare_in_text(capsys, *sides)
    text = "\n".join(outcome.out)
    assert outcome.code == 1
    for words in ("differ by 0.15 or more", "1 of 6,000 (0.0167%)", "c=1 z=2 y=3 x=4", "not kept", "99.9% differ by"):
        assert words in text
    assert compare_in_text(capsys, sides[0], sides[0]).code == 0


def test_shapes_that_differ_are_two(sides: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    outcome = compare_in_text(capsys, *sides, "--axes-theirs", "zxyc")
    assert outcome.code == 2
    assert len([line for line in outcome.err if line.startswith("voxelforest: ")]) == 1
    assert outcome.out == []


def test_picture_shows_the_worst_place(
    sides: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "worst.png"
    assert compare_in_text(capsys, *sides, "--picture", picture).code == 1
    with Image.open(picture) as drawn:
        assert min(drawn.size) > 200
    first = picture.read_bytes()
    refused = compare_in_text(capsys, *sides, "--picture", picture)
    assert (refused.code, picture.read_bytes()) == (2, first)
    assert compare_in_text(capsys, sides[0], sides[0], "--picture", picture, "--overwrite").code == 0
    assert picture.read_bytes() != first


def test_picture_of_large_planes_is_cut_around_the_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = np.zeros((700, 1200), np.uint8)
    theirs = ours.copy()
    theirs[690, 30] = 9
    for name, values in (("ours", ours), ("theirs", theirs)):
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    files = tmp_path / "ours.png", tmp_path / "theirs.png"
    assert compare_in_text(capsys, *files, "--picture", tmp_path / "worst.png").code == 1
    assert (tmp_path / "worst.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("name", "words"),
    [("worst.jpg", "does not end in .png"), ("missing/worst.png", "does not exist"), ("ours.png", "is an input")],
)
def test_picture_without_a_place_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "ours.png")
    before = (tmp_path / "ours.png").read_bytes()
    ours = tmp_path / "ours.png"
    outcome = compare_in_text(capsys, ours, ours, "--picture", tmp_path / name, "--overwrite")
    assert outcome.code == 2
    assert words in outcome.err[-1]
    assert ours.read_bytes() == before
