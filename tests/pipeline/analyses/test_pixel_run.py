"""Pixel classification as an analysis: the same objects as ``voxelforest segment``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import pytest

from pipeline.errors import CancelledError, ChannelError, ParameterError
from pipeline.progress import Event, Progress
from tests.commands import segment
from tests.outputs import contents
from tests.synapses import read, run

NAME = "pixel-classification"


@pytest.fixture
def project(golden_dir: Path) -> Path:
    return golden_dir / "projects" / "pc_3d.ilp"


@pytest.fixture
def raw(golden_dir: Path) -> np.ndarray:
    volume: np.ndarray = np.load(golden_dir / "in_3d_u8.npy")
    return volume


def test_objects_are_those_of_segment(
    project: Path, raw: np.ndarray, golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"label": "Label 2", "threshold": 0.4, "sigma": 0.5, "min_size": 5}
    result = run({"nuclei": raw}, tmp_path / "out", NAME, project=project, **options)
    flags = ("--channel", "Label 2", "--threshold", "0.4", "--sigma", "0.5", "--min-size", "5")
    table = tmp_path / "objects.csv"
    segment(capsys, project, golden_dir / "in_3d_u8.npy", tmp_path / "seg.zarr", *flags, "--table", table)
    objects = read(tmp_path, "seg.zarr/labels/objects")
    assert np.array_equal(read(result.folder, "detections.zarr/labels/objects"), objects)
    assert np.array_equal(read(result.folder, "detections.zarr"), np.where(objects > 0, 255, 0))
    theirs = pandas.read_csv(table)
    assert result.objects == len(theirs) > 0
    assert np.array_equal(result.table["sum_nuclei"], theirs["raw_sum"])
    assert np.array_equal(result.table["z"], theirs["centroid_z"].astype(int))
    assert result.volumes == {"All": "detections.zarr"}
    assert (result.folder / "report.html").is_file()
    assert run({"nuclei": raw}, tmp_path / "out", NAME, mode="resume", project=project, **options).reused


def test_interrupted_it_goes_on(project: Path, raw: np.ndarray, tmp_path: Path, small_blocks: None) -> None:
    told: list[Event] = []

    def cancelled() -> bool:
        return len(told) > 40

    undisturbed = contents(run({"a": raw}, tmp_path / "whole", NAME, project=project, label="1").folder)
    options = {"project": project, "label": "1", "mode": "resume"}
    with pytest.raises(CancelledError):
        run({"a": raw}, tmp_path / "out", NAME, **options, progress=Progress(told.append), cancelled=cancelled)
    assert not (tmp_path / "out").exists()
    assert contents(run({"a": raw}, tmp_path / "out", NAME, **options).folder) == undisturbed


def test_inputs_are_chosen_by_name(project: Path, raw: np.ndarray, tmp_path: Path) -> None:
    volumes = {"other": raw[::-1].copy(), "nuclei": raw}
    one = run(volumes, tmp_path / "one", NAME, project=project, inputs="nuclei", label="0")
    two = run({"nuclei": raw}, tmp_path / "two", NAME, project=project, label="0")
    assert np.array_equal(read(one.folder, "detections.zarr"), read(two.folder, "detections.zarr"))
    with pytest.raises(ChannelError, match="inputs: there is no channel 'nucleus'; there are other, nuclei"):
        run(volumes, tmp_path / "no", NAME, project=project, inputs="nucleus")
    with pytest.raises(ParameterError, match="project: nothing was given"):
        run(volumes, tmp_path / "no", NAME)
    with pytest.raises(ParameterError, match="cannot be read: No such file"):
        run(volumes, tmp_path / "no", NAME, project=tmp_path / "missing.ilp")
    assert not (tmp_path / "no").exists()
