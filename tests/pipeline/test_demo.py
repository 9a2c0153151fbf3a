"""The demo on a small volume: what it makes, what it says, and whose files it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.demo import RECORD, describe_demo, run_demo, score
from pipeline.errors import StoreError
from pipeline.progress import Progress
from pipeline.samples import CLASS_NAMES, SPACING
from pipeline.volume import open_raw

SHAPE = (32, 96, 96)


def test_demo_goes_the_whole_way_and_may_be_run_again(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "demo"
    for _ in range(2):
        document = run_demo(folder, Progress(), SHAPE)
    assert json.loads((folder / RECORD).read_text()) == document
    assert [row["name"] for row in document["classes"]] == list(CLASS_NAMES)
    assert np.mean([row["recall"] for row in document["classes"]]) > 0.5
    probabilities = open_raw(document["probabilities"])
    assert probabilities.shape == (len(CLASS_NAMES), *SHAPE)
    for volume in (probabilities, open_raw(document["raw"])):
        assert {axis: volume.spacing[axis] for axis in "zyx"} == SPACING
    labels = open_raw(document["objects"], dataset="labels/objects")
    assert labels.read(labels.whole).max() == document["n_objects"] > 0
    assert len(pd.read_csv(document["table"])) == document["n_objects"]
    with Image.open(document["picture"]) as picture:
        assert picture.width > 500
        assert len(picture.getcolors(1 << 24) or []) > 1000
    text = " ".join(" ".join(row) for section in describe_demo(document) for row in section.rows)
    for shown in (document["picture"], "voxelforest predict", "--roi z=16:17", *CLASS_NAMES):
        assert shown in text


def test_demo_leaves_the_files_of_others_alone(tmp_path: Path) -> None:
    (tmp_path / "raw.zarr").write_text("mine")
    with pytest.raises(StoreError, match="holds other files"):
        run_demo(tmp_path, Progress(), SHAPE)
    assert [path.name for path in tmp_path.iterdir()] == ["raw.zarr"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(StoreError, match=r"cannot use the folder .*: File exists"):
        run_demo(tmp_path / "demo", Progress(), SHAPE)


def test_score_counts_voxels() -> None:
    truth = np.array([1, 1, 2, 2, 2, 4], np.uint8)
    found = np.array([1, 2, 2, 2, 2, 2], np.uint8)
    vessel, tissue, membrane, nucleus = score(found, truth)
    assert vessel == {"name": "Vessel", "share": pytest.approx(1 / 6), "recall": 0.5, "precision": 1.0}
    assert (tissue["recall"], tissue["precision"]) == (1.0, pytest.approx(3 / 5))
    assert (membrane["recall"], membrane["precision"]) == (0.0, 0.0)
    assert (nucleus["recall"], nucleus["precision"]) == (0.0, 0.0)
