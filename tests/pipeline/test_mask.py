"""Prediction inside a mask: zeros outside, the same bits inside, blocks without a voxel of it not even read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.blocks import Box
from pipeline.errors import PlanError, ReadError, VolumeError
from pipeline.mask import masked_digest, open_mask, predict_inside
from pipeline.prediction import Task, make_task, predict_block
from pipeline.results import OUTPUTS
from pipeline.run import make_plan
from pipeline.volume import Volume
from tests.runs import make_request

BOX = Box((0, 4, 0, 8), (1, 12, 10, 30))


def make_mask(folder: Path, values: np.ndarray[Any, Any], volume: Volume) -> Volume:
    np.save(folder / "mask.npy", values)
    return open_mask(folder / "mask.npy", volume)


@pytest.fixture
def task(golden_dir: Path, tmp_path: Path) -> Task:
    request = make_request(golden_dir, tmp_path / "out.zarr", outputs=OUTPUTS)
    return make_task(request.volume, request.project, make_plan(request))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float32"])
def test_results_are_zero_outside_and_unchanged_inside(task: Task, tmp_path: Path, dtype: str) -> None:
    inside = np.random.default_rng(0).random(task.image.shape[1:]) < 0.5
    mask = make_mask(tmp_path, inside.astype(dtype) if dtype != "int16" else np.where(inside, 7, -1), task.volume)
    whole, found = predict_block(task, BOX), predict_inside(task, mask, BOX)
    cut = inside[4:12, 0:10, 8:30]
    assert set(found) == set(OUTPUTS)
    for name, values in found.items():
        assert values.dtype == whole[name].dtype
        assert np.array_equal(values, np.where(cut, whole[name], 0))
    assert (found["segmentation"][0][cut] > 0).all()


def test_block_outside_is_neither_read_nor_computed(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.zeros(task.image.shape[1:], np.uint8)
    values[20:] = 1
    mask = make_mask(tmp_path, values, task.volume)
    expected = predict_block(task, BOX)

    def refuse(*_: object) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr("pipeline.mask.predict_block", refuse)
    found = predict_inside(task, mask, BOX)
    assert {name: (v.shape, v.dtype) for name, v in found.items()} == {
        name: (v.shape, v.dtype) for name, v in expected.items()
    }
    assert not any(values.any() for values in found.values())


def test_without_a_mask_nothing_changes(task: Task) -> None:
    for name, values in predict_inside(task, None, BOX).items():
        assert np.array_equal(values, predict_block(task, BOX)[name])


@pytest.mark.parametrize("shape", [(37, 40, 37), (40, 38), (37, 40, 38, 2), (2, 37, 40, 38, 1)])
def test_mask_of_another_shape_is_refused_naming_both(task: Task, tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(PlanError, match=r"mask.npy is .*in_3d_u8.npy z=37 y=40 x=38; they must") as caught:
        make_mask(tmp_path, np.ones(shape, np.uint8), task.volume)
    assert (caught.value.code, caught.value.exit_code) == ("mask", 2)


def test_channel_axis_of_length_one_is_no_matter(task: Task, tmp_path: Path) -> None:
    assert make_mask(tmp_path, np.ones((37, 40, 38, 1), np.uint8), task.volume).dims == "czyx"


def test_missing_and_damaged_masks_are_named(task: Task, tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"nothing.npy: no such file"):
        open_mask(tmp_path / "nothing.npy", task.volume)
    mask = make_mask(tmp_path, np.ones(task.image.shape[1:], np.uint8), task.volume)
    (tmp_path / "mask.npy").write_bytes(b"")
    with pytest.raises(ReadError, match=r"mask.npy"):
        predict_inside(task, mask, BOX)


def test_digest_says_which_mask(task: Task, tmp_path: Path) -> None:
    first = make_mask(tmp_path, np.ones(task.image.shape[1:], np.uint8), task.volume)
    digests = {masked_digest("d", None), masked_digest("d", first), masked_digest("e", first)}
    second = make_mask(tmp_path, np.ones(task.image.shape[1:], np.uint16), task.volume)
    assert len(digests | {masked_digest("d", second)}) == 4
    assert masked_digest("d", None) == "d"
