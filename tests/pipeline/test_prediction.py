from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from pipeline.blocks import Box
from pipeline.config import Settings
from pipeline.plan import Plan, make
from pipeline.prediction import Task, make_task, predict_block, quantise, renormalise, run_digest
from pipeline.project import Project, open_project
from pipeline.volume import Volume, open_raw
from tests.models import full_selection, grow_project, memory_volume, predict_slowly
from tests.oracles import GOLDEN

Array = npt.NDArray[Any]
EXPECTED = np.load(GOLDEN / "probabilities.npz")
# project, input, axes of the input, stages
GOLDEN_CASES = [
    ("pc_2d", "in_2d_u8", "yx", 1),
    ("pc_2d_old", "in_2d_u8", "yx", 1),
    ("pc_2d3c", "in_2d3c_u8", "yxc", 1),
    ("pc_missing_class", "in_2d_u8", "yx", 1),
    ("pc_3d", "in_3d_u8", "zyx", 1),
    ("pc_3d_mixed", "in_3d_u16", "zyx", 1),
    ("pc_t_2d", "in_t_u8", "tyx", 1),
    ("pc_t_3d", "in_t3d_f32", "tzyx", 1),
    ("pc_xy_order", "in_2d_u8", "yx", 1),
    ("pc_small", "in_2d_u8", "yx", 1),
    ("pc_double_threshold", "in_2d_u8", "yx", 1),
    ("ac_2d", "in_2d_u8", "yx", 1),
    ("ac_2d", "in_2d_u8", "yx", 2),
]
# project, input, stored answer, axes to open with, stage
REAL_CASES = [
    ("pc.ilp", "raw.h5", "raw_pc_expected.npz", None, 1),
    ("PixelClass.ilp", "Data_1channel.png", "res-Data_1channel_pc1xyc.npy", "yx", 1),
    ("PixelClass3D.ilp", "Data_3D.npy", "res-Data_3D_pc3d.npy", "zyxc", 1),
    ("Autocontext_2D.ilp", "Data_1channel.png", "res-Data_1channel_ac2ds1.npy", "yx", 1),
    ("Autocontext_2D.ilp", "Data_1channel.png", "res-Data_1channel_ac2ds2.npy", "yx", 2),
]


def plan_of(volume: Volume, project: Project, **options: Any) -> Plan:
    return make(volume.whole, volume.n_channels, str(volume.dtype), volume.dims, project, **options)


def predict(volume: Volume, project: Project, box: Box | None = None, **options: Any) -> dict[str, Array]:
    task = make_task(volume, project, plan_of(volume, project, **options))
    return predict_block(task, box or volume.whole)


def in_stored_order(probabilities: Array, axes: str) -> Array:
    """(t, c, z, y, x) in the order of these axes without c, classes last."""
    order = [axis for axis in axes if axis != "c"] + ["c"]
    kept = probabilities[tuple(slice(None) if axis in order else 0 for axis in "tczyx")]
    present = [axis for axis in "tczyx" if axis in order]
    return kept.transpose([present.index(axis) for axis in order])


@pytest.fixture(scope="module")
def small() -> tuple[Volume, Project, Array, Array]:
    """A volume with two channels in time, a project for it, its probabilities and features."""
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 255, (2, 2, 9, 24, 30)).astype(np.uint8)
    project = grow_project(rng, frames, "tzyxc", [full_selection((0.7, 1.6))], [(1, 3, 4)])
    return (memory_volume(frames, "tczyx"), project, *predict_slowly(project, frames))


@pytest.mark.parametrize(("name", "data", "axes", "stage"), GOLDEN_CASES)
def test_golden_projects_give_the_golden_probabilities(name: str, data: str, axes: str, stage: int) -> None:
    project = open_project(GOLDEN / "projects" / f"{name}.ilp")
    volume = open_raw(GOLDEN / f"{data}.npy", axes=axes)
    got = in_stored_order(predict(volume, project, stage=stage)["probabilities"], project.axes)
    expected = EXPECTED[f"prob_{name}_stage{stage}" if len(project.stages) > 1 else f"prob_{name}"]
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("name", "data", "answer", "axes", "stage"), REAL_CASES)
def test_real_projects_give_the_probabilities_that_ilastik_stored(
    ilastik_dir: Path, name: str, data: str, answer: str, axes: str | None, stage: int
) -> None:
    project = open_project(ilastik_dir / name)
    volume = open_raw(ilastik_dir / data, axes=axes, project_axes=project.axes)
    stored: Any = np.load(ilastik_dir / answer)
    expected = stored["probabilities"] if answer.endswith("npz") else stored
    got = in_stored_order(predict(volume, project, stage=stage)["probabilities"], project.axes)
    assert np.abs(got.reshape(expected.shape) - expected).max() <= 1e-6
    rng = np.random.default_rng(0)
    for _ in range(6):
        start = [int(rng.integers(0, n)) for n in volume.whole.shape]
        stop = [int(rng.integers(a + 1, min(a + 40, n) + 1)) for a, n in zip(start, volume.whole.shape, strict=True)]
        box = Box(tuple(start), tuple(stop))  # type: ignore[arg-type]
        part = predict(volume, project, box, stage=stage)["probabilities"]
        whole = got.reshape(expected.shape)
        slices = [dict(zip("tzyx", box.slices(), strict=True))[axis] for axis in project.axes if axis != "c"]
        reordered = in_stored_order(part, project.axes)
        np.testing.assert_array_equal(reordered, whole[tuple(slices)].reshape(reordered.shape))


def test_results_follow_from_the_probabilities(small: tuple[Volume, Project, Array, Array]) -> None:
    volume, project, probabilities, features = small
    got = predict(volume, project, outputs=("features", "uncertainty", "segmentation", "probabilities"))
    np.testing.assert_array_equal(got["features"], features)
    np.testing.assert_array_equal(got["probabilities"], probabilities)
    assert (probabilities[:, 1] == 0).all()  # the label that nobody annotated
    np.testing.assert_array_equal(got["segmentation"], 1 + probabilities.argmax(axis=1))
    assert got["segmentation"].dtype == np.uint8
    ordered = np.sort(probabilities, axis=1)
    np.testing.assert_array_equal(got["uncertainty"], 1 - (ordered[:, -1] - ordered[:, -2]))
    assert got["uncertainty"].dtype == np.float32


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_stored_integers_hold_0_to_1_as_0_to_their_largest(
    small: tuple[Volume, Project, Array, Array], dtype: str
) -> None:
    volume, project, probabilities, _ = small
    got = predict(volume, project, outputs=("probabilities", "uncertainty"), stored_type=dtype)
    largest = np.float32(np.iinfo(dtype).max)
    np.testing.assert_array_equal(got["probabilities"], np.rint(probabilities * largest))
    assert got["probabilities"].dtype == got["uncertainty"].dtype == dtype
    ordered = np.sort(probabilities, axis=1)
    np.testing.assert_array_equal(got["uncertainty"], np.rint((1 - (ordered[:, -1] - ordered[:, -2])) * largest))


def test_values_are_rounded_half_to_even() -> None:
    halves = np.array([0.5, 1.5, 2.5, 3.5], np.float32) / np.float32(255)
    expected = np.rint(halves * np.float32(255)).astype(np.uint8)
    np.testing.assert_array_equal(renormalise(halves, "uint8"), expected)
    np.testing.assert_array_equal(renormalise(np.array([0, 1], np.float32), "uint16"), [0, 65535])


def test_one_class_has_no_uncertainty() -> None:
    rng = np.random.default_rng(0)
    frames = rng.random((1, 1, 1, 12, 12)).astype(np.float32)
    project = grow_project(rng, frames, "yx", [full_selection((1.0,))], [(1,)])
    got = predict(memory_volume(frames[0, 0, 0], "yx"), project, outputs=("uncertainty", "segmentation"))
    assert (got["uncertainty"] == 0).all()
    assert (got["segmentation"] == 1).all()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("uint8", [0, 127, 254, 255]),
        ("uint16", [0, 32767, 65407, 65535]),
        ("int8", [-128, -1, 126, 127]),  # wraps: 0 becomes the least, 1 the largest
        ("int16", [-32768, -1, 32639, 32767]),
    ],
)
def test_first_stage_is_truncated_into_the_type_of_the_raw_data(dtype: str, expected: list[int]) -> None:
    probability = np.array([0, 0.5, 0.99805, 1], np.float32)
    got = quantise(probability, np.dtype(dtype))
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_first_stage_stays_as_it_is_in_floats(dtype: str) -> None:
    probability = np.random.default_rng(0).random(9).astype(np.float32)
    got = quantise(probability, np.dtype(dtype))
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, probability)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("deep", [False, True])
def test_values_that_are_no_numbers_spoil_their_neighbourhood_alone(bad: float, deep: bool) -> None:
    rng = np.random.default_rng(1)
    frames = rng.random((1, 1, 11 if deep else 1, 26, 25)).astype(np.float32)
    axes = "zyx" if deep else "yx"
    project = grow_project(rng, frames, axes, [full_selection((1.0,), in_2d=not deep)])
    clean, _ = predict_slowly(project, frames)
    frames[0, 0, frames.shape[2] // 2, 6, 7] = bad
    expected, _ = predict_slowly(project, frames)
    volume = memory_volume(frames[0, 0] if deep else frames[0, 0, 0], axes)
    got = predict(volume, project)["probabilities"]
    np.testing.assert_array_equal(got, expected)
    assert (got[0, :, frames.shape[2] // 2, 6, 7] == 0).all()
    np.testing.assert_array_equal(got[..., 15:, :], clean[..., 15:, :])
    for box in (Box((0, 0, 0, 0), (1, frames.shape[2], 7, 25)), Box((0, 0, 7, 0), (1, frames.shape[2], 26, 25))):
        np.testing.assert_array_equal(predict(volume, project, box)["probabilities"], expected[..., box.slices()[2], :])


@given(data=st.data())
@profile(max_examples=15)
def test_block_reads_no_more_than_itself_and_its_halo(
    small: tuple[Volume, Project, Array, Array], data: st.DataObject
) -> None:
    volume, project, probabilities, _ = small
    source: Any = volume.source
    plan = plan_of(volume, project)
    start = [data.draw(st.integers(0, n - 1)) for n in volume.whole.shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, volume.whole.shape, strict=True)]
    box = Box(tuple(start), tuple(stop))  # type: ignore[arg-type]
    source.boxes.clear()
    got = predict(volume, project, box)["probabilities"]
    assert source.voxels_read == box.grow(plan.halo_zyx, plan.image).size * volume.n_channels
    t, *zyx = box.slices()
    np.testing.assert_array_equal(got, probabilities[(t, slice(None), *zyx)])


def test_task_runs_anywhere(small: tuple[Volume, Project, Array, Array]) -> None:
    import pickle

    volume, project, probabilities, _ = small
    task: Task = pickle.loads(pickle.dumps(make_task(volume, project, plan_of(volume, project))))
    np.testing.assert_array_equal(predict_block(task, volume.whole)["probabilities"], probabilities)


def test_digest_tells_apart_what_decides_the_results() -> None:
    project = open_project(GOLDEN / "projects" / "ac_2d.ilp")
    volume = open_raw(GOLDEN / "in_2d_u8.npy", axes="yx")
    options: list[dict[str, Any]] = [
        {},
        {"stage": 1},
        {"outputs": ["segmentation"]},
        {"outputs": ["probabilities", "segmentation"]},
        {"stored_type": "uint8"},
        {"region": Box((0, 0, 0, 0), (1, 1, 9, 80))},
    ]
    digests = [run_digest(volume.digest, project, plan_of(volume, project, **each)) for each in options]
    other = open_project(GOLDEN / "projects" / "pc_2d.ilp")
    digests += [run_digest("another", project, plan_of(volume, project))]
    digests += [run_digest(volume.digest, other, plan_of(volume, other))]
    assert len(set(digests)) == len(digests)
    small_blocks = plan_of(volume, project, limits=Settings(block_voxels=100, chunk_voxels=100))
    assert run_digest(volume.digest, project, small_blocks) == digests[0]  # how it is computed does not matter
