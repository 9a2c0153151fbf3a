from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.annotations import Annotations
from pipeline.errors import PipelineError
from pipeline.ilp_labels import read_labels
from pipeline.ilp_writer import TrainingImage, write_project
from pipeline.project import open_project
from tests.models import full_selection, grow_forest, make_stage
from tests.oracles import features_of

SETS = "PixelClassification/LabelSets"


@pytest.fixture
def project(tmp_path: Path) -> tuple[Path, np.ndarray[Any, Any]]:
    """A project whose image (z, y, x) is annotated across the blocks that ilastik cuts."""
    drawn = np.zeros((5, 150, 140), np.uint8)
    drawn[0, 3:9, 126:131], drawn[4, 127:131, 0] = 1, 3
    raw = np.random.default_rng(0).integers(0, 255, (1, 5, 20, 20)).astype(np.uint8)
    selection = full_selection((0.7,), in_2d=True)
    rows = features_of(selection, raw).reshape(selection.n_columns(1, 5), -1).T
    stage = make_stage(grow_forest(np.random.default_rng(1), rows), selection)
    path = tmp_path / "drawn.ilp"
    image = TrainingImage("raw.npy", "zyx", drawn.shape)
    write_project(path, [stage], image, annotations=[Annotations.of_array(drawn, "zyx")])
    return path, drawn


def test_what_was_written_is_read(project: tuple[Path, Any]) -> None:
    path, drawn = project
    found = read_labels(path, (1, *drawn.shape))
    np.testing.assert_array_equal(found.annotations.places, np.argwhere(drawn[None]))
    np.testing.assert_array_equal(found.annotations.labels, drawn[drawn > 0])
    stage = open_project(path).stages[0]
    assert (found.features, found.class_names) == (stage.features, stage.class_names)
    assert found.class_colors == stage.class_colors


@pytest.mark.parametrize(
    ("name", "shape", "labels"),
    [("pc.ilp", (1, 1, 185, 193), (1, 2)), ("PixelClass3D.ilp", None, (1, 2))],
)
def test_real_annotations_are_read(ilastik_dir: Path, name: str, shape: Any, labels: tuple[int, ...]) -> None:
    path = ilastik_dir / name
    if shape is None:
        stored = dict(zip(open_project(path).axes, open_project(path).shape or (), strict=True))
        shape = tuple(stored.get(axis, 1) for axis in "tzyx")
    found = read_labels(path, shape)
    with h5py.File(path) as file:
        drawn = sum(int((block[()] > 0).sum()) for block in file[f"{SETS}/labels000"].values())
    assert len(found.annotations) == drawn > 0
    assert found.annotations.found == labels


def _break(path: Path, how: str) -> None:
    with h5py.File(path, "r+") as file:
        lane = file[f"{SETS}/labels000"]
        block = lane["block0000"]
        if how == "empty":
            del file[SETS]
        elif how == "slice":
            block.attrs["blockSlice"] = "[0:9,0:9,0:9,0:1]"
        elif how == "text":
            block.attrs["blockSlice"] = "everything"
        elif how == "far":
            spans = [f"{at}:{at + n}" for at, n in zip((0, 900, 126, 0), block.shape, strict=True)]
            block.attrs["blockSlice"] = f"[{','.join(spans)}]"
        elif how == "two":
            file.copy(lane, f"{SETS}/labels001")
        elif how == "link":
            lane["block0009"] = h5py.ExternalLink("elsewhere.h5", "/data")


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ("empty", "no_labels", "holds no annotations"),
        ("slice", "no_labels", "of shape"),
        ("text", "no_labels", "not as ilastik writes them"),
        ("far", "labels", "drawn on another image"),
        ("two", "no_labels", "choose one with --lane: 0, 1"),
        ("link", "unsafe_link", "external link"),
    ],
)
def test_annotations_that_cannot_be_used_are_refused(project: tuple[Path, Any], how: str, code: str, says: str) -> None:
    path, drawn = project
    _break(path, how)
    with pytest.raises(PipelineError, match=says) as caught:
        read_labels(path, (1, *drawn.shape))
    assert caught.value.code == code


def test_lane_out_of_range_is_refused(project: tuple[Path, Any]) -> None:
    with pytest.raises(PipelineError, match="for 1 image"):
        read_labels(project[0], (1, *project[1].shape), lane=1)


def test_damaged_texts_are_refused_or_read(project: tuple[Path, Any], tmp_path: Path) -> None:
    path, drawn = project
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    heaps = [at for at in range(len(good)) if good[at : at + 5] == b"GCOL\x01"]
    copy = tmp_path / "damaged.ilp"
    for _ in range(60):
        damaged = bytearray(good)
        for at in rng.choice(heaps, 1) + rng.integers(5, 200, 3):
            damaged[min(at, len(good) - 1)] = rng.integers(256)
        copy.write_bytes(damaged)
        with contextlib.suppress(PipelineError):  # any other exception, or none that ends, is the failure
            read_labels(copy, (1, *drawn.shape))
