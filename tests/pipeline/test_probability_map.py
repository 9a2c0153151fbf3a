"""Maps of probabilities: predicted or given, with the range that stands for 0 to 1."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.blocks import Box
from pipeline.errors import PlanError
from pipeline.probability_map import given_map, natural_range, normalise, predicted_map
from pipeline.project import open_project
from pipeline.volume import open_raw
from tests.commands import run_here
from tests.runs import open_input


def write_map(path: Path, values: Any, **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        file["exported_data"] = values
        file["exported_data"].attrs.update(attributes)
    return path


@pytest.mark.parametrize(
    ("dtype", "drange", "expected"),
    [
        ("uint8", None, (0.0, 255.0)),
        ("uint8", [0, 100], (0.0, 100.0)),
        ("int16", None, (0.0, 32767.0)),
        ("float32", None, (0.0, 1.0)),
        ("float64", [-1.0, 1.0], (-1.0, 1.0)),
        ("uint8", [5, 5], (0.0, 255.0)),  # says nothing
        ("uint8", "bad", (0.0, 255.0)),
        ("float32", [0.0, np.nan], (0.0, 1.0)),
    ],
)
def test_range_is_the_files_else_the_types(tmp_path: Path, dtype: str, drange: Any, expected: Any) -> None:
    attributes = {} if drange is None else {"drange": drange}
    volume = open_raw(write_map(tmp_path / "m.h5", np.ones((4, 5, 2), dtype), **attributes), axes="yxc")
    assert natural_range(volume) == expected
    source = given_map(volume)
    values = source.read(source.image, [1])
    assert (values.shape, str(values.dtype)) == ((1, 1, 1, 4, 5), source.dtype)
    low, high = expected
    assert np.allclose(normalise(values, source.value_range), (1 - low) / (high - low), rtol=1e-6)
    other = given_map(volume, region=Box((0, 0, 1, 0), (1, 1, 3, 5)))
    assert other.digest != source.digest
    assert other.image == Box.whole((1, 1, 2, 5))


def test_region_outside_is_refused(tmp_path: Path) -> None:
    volume = open_raw(write_map(tmp_path / "m.h5", np.ones((4, 5))), axes="yx")
    with pytest.raises(PlanError, match="not inside the map"):
        given_map(volume, region=Box.whole((1, 1, 4, 6)))


def test_predicted_map_reads_what_a_prediction_writes(
    golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume, project = open_input(golden_dir, "pc_3d"), open_project(golden_dir / "projects" / "pc_3d.ilp")
    source = pickle.loads(pickle.dumps(predicted_map(project, volume, region=Box((0, 3, 2, 1), (1, 20, 30, 31)))))
    box = Box((0, 1, 0, 4), (1, 9, 28, 12))
    whole = np.moveaxis(np.load(golden_dir / "probabilities.npz")["prob_pc_3d"], -1, 0)
    assert np.array_equal(source.read(box, [2, 0])[0], whole[[2, 0], 4:12, 2:30, 5:13])
    assert source.origin == {"t": 0, "z": 3, "y": 2, "x": 1}


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_names_and_range_of_channels_come_from_our_images(
    golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    job = golden_dir / "projects" / "pc_2d.ilp", golden_dir / "in_2d_u8.npy"
    options = ("--dtype", "uint16", "--ome-version", version)
    assert run_here(capsys, "predict", *job, tmp_path / "out.zarr", *options).code == 0
    volume = open_raw(tmp_path / "out.zarr")
    assert volume.channel_names == open_project(job[0]).stages[0].class_names
    assert volume.value_range == (0.0, 65535.0)
    name = "zarr.json" if version == "0.5" else ".zattrs"
    document = json.loads((tmp_path / "out.zarr" / name).read_text())
    attributes = document["attributes"] if version == "0.5" else document
    attributes.pop("voxelforest")
    (tmp_path / "out.zarr" / name).write_text(json.dumps(document))
    foreign = open_raw(tmp_path / "out.zarr")
    assert foreign.channel_names == volume.channel_names
    assert foreign.value_range is None  # windows of other images are how they are shown
    (attributes["ome"] if version == "0.5" else attributes)["omero"] = {"channels": [{"label": 3}, "x"]}
    (tmp_path / "out.zarr" / name).write_text(json.dumps(document))
    assert open_raw(tmp_path / "out.zarr").channel_names == ()
