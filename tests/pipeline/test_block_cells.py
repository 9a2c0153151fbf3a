from __future__ import annotations

from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.block_cells import predict_array, predict_cells
from pipeline.config import Settings
from pipeline.plan import Plan, make
from pipeline.prediction import make_task
from pipeline.project import Project
from pipeline.volume import Volume
from tests.models import full_selection, grow_project, memory_volume, predict_slowly

Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def frames() -> Array:
    return np.random.default_rng(4).integers(0, 255, (2, 2, 1, 30, 47)).astype(np.uint8)


@pytest.fixture(scope="module")
def project(frames: Array) -> Project:
    return grow_project(np.random.default_rng(4), frames, "tyxc", [full_selection((1.6,))])


def opened(frames: Array) -> Volume:
    return memory_volume(frames[:, :, 0], "tcyx")


def plan_of(frames: Array, project: Project, voxels: int, outputs: tuple[str, ...] = ("probabilities",)) -> Plan:
    volume = opened(frames)
    limits = Settings(chunk_voxels=voxels, block_voxels=voxels)
    return make(volume.whole, 2, "uint8", "tcyx", project, outputs=outputs, limits=limits)


@given(voxels=st.integers(1, 3000))
def test_pieces_of_an_array_are_never_thinner_than_the_halo(frames: Array, project: Project, voxels: int) -> None:
    plan = plan_of(frames, project, voxels)
    chunks = predict_array(frames, project, plan)["probabilities"].chunks
    for sizes, n, halo in zip(chunks[2:], frames.shape[2:], plan.halo_zyx, strict=True):
        assert sum(sizes) == n
        assert len(sizes) == 1 or min(sizes) >= halo
    assert chunks[:2] == ((1, 1), (3,))


def test_both_ways_give_all_results_of_one_pass(frames: Array, project: Project) -> None:
    outputs = ("probabilities", "segmentation", "uncertainty", "features")
    plan = plan_of(frames, project, 256, outputs)
    expected, features = predict_slowly(project, frames)
    for arrays in (
        predict_cells(make_task(opened(frames), project, plan), plan),
        predict_array(dask.array.from_array(frames, chunks=(2, 1, 1, 7, 50)), project, plan),
    ):
        assert tuple(arrays) == outputs
        got = dict(zip(arrays, dask.compute(*arrays.values(), scheduler="sync"), strict=True))
        np.testing.assert_array_equal(got["probabilities"], expected)
        np.testing.assert_array_equal(got["features"], features)
        np.testing.assert_array_equal(got["segmentation"][:, 0], 1 + expected.argmax(axis=1))
        assert got["uncertainty"].shape == (2, 1, 1, 30, 47)


def test_array_smaller_than_the_halo_is_one_piece(frames: Array, project: Project) -> None:
    tiny = frames[..., :7, :8]
    plan = plan_of(tiny, project, 16)
    assert min(plan.halo_zyx[1:]) >= 6
    arrays = predict_array(tiny, project, plan)
    np.testing.assert_array_equal(arrays["probabilities"].compute(scheduler="sync"), predict_slowly(project, tiny)[0])


def test_names_tell_data_and_cutting_apart(frames: Array, project: Project) -> None:
    plans = [plan_of(frames, project, voxels) for voxels in (256, 1000)]
    names = [predict_array(frames, project, plan)["probabilities"].name for plan in plans]
    names += [predict_cells(make_task(opened(frames), project, plan), plan)["probabilities"].name for plan in plans]
    names.append(predict_array(frames + np.uint8(1), project, plans[0])["probabilities"].name)
    assert len(set(names)) == len(names)
    assert predict_array(frames, project, plans[0])["probabilities"].name == names[0]
