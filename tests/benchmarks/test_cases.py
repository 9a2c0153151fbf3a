from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import cases
from benchmarks.cases import Case
from pipeline.project import open_project

COLUMNS = {"small-3d": 11, "mid-3d": 41, "full-3d": 61, "plane-25": 25, "plane-33": 33, "channels-75": 75}


@pytest.mark.parametrize("name", cases.SELECTIONS)
def test_selections_have_the_columns_of_their_names(name: str) -> None:
    case = Case(name, "shallow")
    assert case.features.n_columns(case.n_channels, 1 if case.in_2d else 40) == COLUMNS[name]


@pytest.mark.parametrize(
    ("name", "dims", "shape"), [("small-3d", "zyx", (50, 30, 45)), ("channels-75", "cyx", (3, 30, 45))]
)
def test_images_have_the_axes_of_their_case(name: str, dims: str, shape: tuple[int, ...]) -> None:
    case = Case(name, "shallow")
    raw = cases.image(case, (50 if "z" in dims else 1, 30, 45))
    assert case.dims == dims
    assert case.stored(raw).shape == shape
    assert raw.dtype == np.uint8


def test_mirror_images_have_no_seams() -> None:
    line = cases.mirror_tile(np.arange(3, dtype=np.uint8)[None, None], (1, 1, 8))
    assert line.tolist() == [[[0, 1, 2, 2, 1, 0, 0, 1]]]


def test_deeper_forests_have_more_nodes() -> None:
    nodes = [cases.train(Case("small-3d", depth)).forest.n_nodes for depth in ("shallow", "ordinary")]
    assert nodes[1] > 5 * nodes[0]


def test_annotations_are_true_and_leave_a_label_for_each_class() -> None:
    labels, names = cases.annotate(Case("plane-33", "ordinary"))
    truth = cases.tissue().truth[cases.plane()][None]
    assert set(np.unique(labels)) == set(range(len(names) + 1))
    assert (labels[labels > 0] == truth[labels > 0]).all()


def test_projects_can_be_read(tmp_path: Path) -> None:
    case = Case("small-3d", "shallow")
    project = open_project(cases.write_case(case, tmp_path))
    assert project.stages[0].features == case.features
    assert project.stages[0].forest.n_trees == 100
