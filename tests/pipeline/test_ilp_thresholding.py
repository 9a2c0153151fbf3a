"""Thresholds stored in a project, as old and new ilastik versions leave them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.errors import ProjectError
from pipeline.project import Project, open_project
from pipeline.thresholding import Thresholding, project_thresholding
from tests.oracles import load_golden_module


@pytest.fixture
def stored(golden_dir: Path, tmp_path: Path) -> Path:
    """A project, and room for more in it."""
    path = tmp_path / "pc.ilp"
    shutil.copy(golden_dir / "projects" / "pc_2d.ilp", path)
    return path


def put(path: Path, values: Mapping[str, object]) -> Project:
    with h5py.File(path, "r+") as file:
        group = file.require_group("ThresholdTwoLevels")
        for name, value in values.items():
            group[name] = value
    return open_project(path)


def test_a_project_without_thresholds(stored: Path) -> None:
    assert project_thresholding(open_project(stored)) is None


def test_an_empty_group_means_defaults(stored: Path) -> None:
    plain = open_project(stored)
    project = put(stored, {})
    assert project_thresholding(project) == Thresholding()
    assert project == plain


CASES: dict[str, dict[str, object]] = {
    "new": {
        "CurOperator": 1,
        "MinSize": 3,
        "MaxSize": 500,
        "HighThreshold": 0.9,
        "LowThreshold": 0.25,
        "Channel": 1,
        "CoreChannel": 0,
        "SmootherSigma/z": 0.5,
        "SmootherSigma/y": 2.0,
        "SmootherSigma/x": 1.5,
    },
    "old single threshold": {"CurOperator": 0, "SingleThreshold": 0.33, "LowThreshold": 0.7, "Channel": 1},
    "single threshold in hysteresis": {"CurOperator": 1, "SingleThreshold": 0.33, "LowThreshold": 0.7},
    "old core channel": {"CurOperator": 1, "Channel": 2},
    "float numbers": {"CurOperator": np.float64(0), "MinSize": np.float64(4)},
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_settings_are_those_of_the_reference(name: str, stored: Path) -> None:
    used = project_thresholding(put(stored, CASES[name]))
    expected = load_golden_module("ref").read_threshold(stored)
    assert used is not None
    assert used.method == ("hysteresis" if expected["method"] else "simple")
    for ours in ("low", "high", "min_size", "max_size", "channel", "core_channel"):
        assert getattr(used, ours) == expected[ours]
    assert used.sigma_zyx == tuple(expected["sigma"][axis] for axis in "zyx")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"CurOperator": 2}, "the method is graph cut; only simple and hysteresis can be used"),
        ({"CurOperator": 3}, r"the method is object splitting by graph cut \(IPHT\)"),
        ({"CurOperator": 7}, "the method is number 7"),
        ({"MinSize": 2.5}, "MinSize is 2.5, not a whole number"),
        ({"MaxSize": np.nan}, "MaxSize is nan, not a whole number"),
        ({"MinSize": -4}, "min_size is -4"),
        ({"LowThreshold": "high"}, "'ThresholdTwoLevels/LowThreshold' is not one number"),
        ({"LowThreshold": [0.1, 0.2]}, "is not one number"),
        ({"CurOperator": 1, "LowThreshold": 0.95}, "low threshold 0.95 is above the high one"),
    ],
)
def test_what_cannot_be_used_is_refused_where_it_is_asked_for(
    values: Mapping[str, object], message: str, stored: Path
) -> None:
    project = put(stored, values)
    with pytest.raises(ProjectError, match=message) as caught:
        project_thresholding(project)
    assert caught.value.code == "bad_threshold"
    assert str(stored) in str(caught.value)


def test_one_number_in_a_list_is_a_number(stored: Path) -> None:
    used = project_thresholding(put(stored, {"MinSize": np.array([4]), "LowThreshold": np.array([0.25], np.float32)}))
    assert used == Thresholding(min_size=4, low=0.25)


def test_links_are_not_followed(stored: Path) -> None:
    with h5py.File(stored, "r+") as file:
        file["ThresholdTwoLevels"] = h5py.ExternalLink("other.ilp", "/")
    with pytest.raises(ProjectError) as caught:
        open_project(stored)
    assert caught.value.code == "unsafe_link"
