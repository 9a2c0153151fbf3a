"""Autocontext through the command: both stages, 2-D and 3-D, predicted and segmented in blocks of any size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from pipeline.config import settings
from pipeline.features import FeatureSelection
from pipeline.ilp_writer import TrainingImage, write_project
from pipeline.labelling import label_frame
from pipeline.project import open_project
from pipeline.thresholding import Thresholding
from tests.commands import run_here
from tests.models import full_selection, grow_project, predict_slowly

Array = NDArray[Any]
SIZES = {"many": ("1000", "1000"), "some": ("4096", "16384"), "one": ("262144", "4194304")}  # chunks and blocks, voxels
SETTINGS = Thresholding(sigma_zyx=(0.5, 0.5, 0.5), min_size=2)


@pytest.fixture(params=["yx", "zyx"], scope="module")
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Array]:
    """A project of two stages, an image for it as uint8, and that image as (t, c, z, y, x)."""
    folder, axes = tmp_path_factory.mktemp("autocontext"), request.param
    shape = (61, 70) if axes == "yx" else (21, 30, 33)
    image = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    frames = image.reshape(1, 1, *(1,) * (3 - len(shape)), *shape)
    small = full_selection((0.7, 1.6), in_2d=axes == "yx" or None)
    few = FeatureSelection(small.ids, (1.0,), ((True,),) * len(small.ids), (True,) if axes == "yx" else None)
    project = grow_project(np.random.default_rng(4), frames, axes, [small, few])
    write_project(folder / "ac.ilp", project.stages, TrainingImage("raw.npy", axes, shape))
    np.save(folder / "raw.npy", image)
    return folder / "ac.ilp", folder / "raw.npy", frames


@pytest.mark.parametrize("stage", [1, 2])
def test_blocks_of_any_size_give_the_slow_answer(
    job: tuple[Path, Path, Array],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stage: int,
) -> None:
    project, raw, frames = job
    slow = predict_slowly(open_project(project), frames, stage)[0][0]
    rules = replace(SETTINGS, low=round(float(np.quantile(slow[0], 0.75)), 3))
    labels, summary = label_frame(slow, rules)
    assert summary.kept > 1
    asked = ("--threshold", rules.low, "--sigma", 0.5, "--min-size", 2, "--stage", stage)
    for name, (chunk, block) in SIZES.items():
        monkeypatch.setenv("VOXELFOREST_CHUNK_VOXELS", chunk)
        monkeypatch.setenv("VOXELFOREST_BLOCK_VOXELS", block)
        settings.cache_clear()
        predicted, segmented = tmp_path / f"{name}-p.zarr", tmp_path / f"{name}-s.zarr"
        assert run_here(capsys, "predict", project, raw, predicted, "--stage", stage).code == 0
        assert run_here(capsys, "segment", project, raw, segmented, *asked).code == 0
        whole = np.asarray(zarr.open_array(predicted / "0", mode="r")[...])
        assert np.array_equal(whole.reshape(slow.shape), slow)
        chosen = np.asarray(zarr.open_array(segmented / "0", mode="r")[...])
        assert np.array_equal(chosen.reshape(slow[:1].shape), slow[:1])
        found = np.asarray(zarr.open_array(segmented / "labels" / "objects" / "0", mode="r")[...])
        assert np.array_equal(found.reshape(labels.shape), labels)
    settings.cache_clear()


@pytest.mark.parametrize("stage", [1, 2])
def test_golden_project_is_segmented_at_either_stage(
    golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: int
) -> None:
    job = golden_dir / "projects" / "ac_2d.ilp", golden_dir / "in_2d_u8.npy"
    assert run_here(capsys, "segment", *job, tmp_path / "out.npy", "--stage", stage, "--channel", 1).code == 0
    stored = np.load(golden_dir / "probabilities.npz")[f"prob_ac_2d_stage{stage}"]
    expected, _ = label_frame(np.moveaxis(stored, -1, 0)[:, None], replace(Thresholding(), channel=1, core_channel=1))
    assert np.array_equal(np.load(tmp_path / "out.npy")[..., 0], expected[0])
