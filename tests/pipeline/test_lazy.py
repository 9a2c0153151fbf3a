from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dask
import dask.array
import numpy as np
import numpy.typing as npt
import pytest
import xarray
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from pipeline import prediction
from pipeline.blocks import Box
from pipeline.config import Settings
from pipeline.errors import PlanError
from pipeline.lazy import predict
from pipeline.plan import make
from pipeline.project import Project
from pipeline.volume import as_array, open_volume
from tests.models import full_selection, grow_project, memory_volume, predict_slowly

Array = npt.NDArray[Any]
SMALL_BLOCKS = Settings(chunk_voxels=500, block_voxels=1000)


@pytest.fixture(scope="module")
def frames() -> Array:
    """Images (t, c, z, y, x), each larger than the halo."""
    return np.random.default_rng(7).integers(0, 255, (3, 1, 10, 22, 26)).astype(np.uint8)


@pytest.fixture(scope="module")
def project(frames: Array) -> Project:
    return grow_project(np.random.default_rng(7), frames, "tzyx", [full_selection((0.7,), in_2d=False)])


@pytest.fixture(scope="module")
def expected(frames: Array, project: Project) -> Array:
    """Probabilities (t, c, z, y, x)."""
    return predict_slowly(project, frames)[0]


@pytest.fixture(autouse=True)
def small_blocks() -> Iterator[None]:
    """Limits that cut even small volumes into many blocks."""

    def make_small(*args: Any, **options: Any) -> Any:
        return make(*args, limits=SMALL_BLOCKS, **options)

    with patch("pipeline.plan.make", make_small), dask.config.set(scheduler="sync"):
        yield


@contextmanager
def computed_boxes() -> Iterator[list[Box]]:
    """The boxes that block tasks compute meanwhile."""
    boxes: list[Box] = []
    compute: Callable[..., Any] = prediction.predict_block

    def note(task: prediction.Task, box: Box) -> Any:
        boxes.append(box)
        return compute(task, box)

    with patch("pipeline.prediction.predict_block", note):
        yield boxes


def lazily(frames: Array, project: Project, **options: Any) -> Any:
    """Results over a volume in memory that tasks read box by box."""
    return predict(as_array(memory_volume(frames[:, 0], "tzyx")), project, **options)


def test_result_is_labelled_and_lazy(frames: Array, project: Project, expected: Array) -> None:
    with computed_boxes() as boxes:
        prob = lazily(frames, project)
        assert prob.dims == ("t", "c", "z", "y", "x")
        assert prob.c.values.tolist() == list(project.stages[0].class_names)
        assert (prob.dtype, prob.shape, prob.name) == (np.float32, expected.shape, "probabilities")
        assert prob.attrs["project"] == project.digest
        assert boxes == []
        np.testing.assert_array_equal(prob.compute().values, expected)
        assert len(boxes) == prob.data.npartitions > 20


def test_slice_computes_its_own_voxels_and_reads_their_halo(frames: Array, project: Project, expected: Array) -> None:
    volume = memory_volume(frames[:, 0], "tzyx")
    prob = predict(as_array(volume), project)
    source: Any = volume.source
    with computed_boxes() as boxes:
        part = prob.sel(c="Class 2").isel(t=1, z=4)[:6, :5].compute()
    assert [box.shape for box in boxes] == [(1, 1, 6, 5)]
    np.testing.assert_array_equal(part.values, expected[1, 1, 4, :6, :5])
    halo = make(volume.whole, 1, "uint8", "tzyx", project).halo_zyx
    assert source.voxels_read == (2 * halo[0] + 1) * (6 + halo[1]) * (5 + halo[2])


@given(data=st.data())
@profile(max_examples=40)
def test_any_slice_has_the_bits_of_the_whole_and_computes_no_voxel_in_vain(
    frames: Array, project: Project, expected: Array, data: st.DataObject
) -> None:
    lazy: Any = lazily(frames, project).data
    plain = expected
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(nps.basic_indices(plain.shape, allow_newaxis=False))
        lazy, plain = lazy[key], plain[key]
    with computed_boxes() as boxes:
        np.testing.assert_array_equal(lazy.compute(), plain)
    # Steps along y and x, and short ones along z, are cut out of the box around them.
    assert sum(box.size for box in boxes) <= frames.size


def test_tasks_of_a_slab_are_wider_but_read_no_more_than_a_block(frames: Array, project: Project) -> None:
    volume = memory_volume(frames[:, 0], "tzyx")
    plan = make(volume.whole, 1, "uint8", "tzyx", project, limits=SMALL_BLOCKS)
    most = np.prod([n + 2 * halo for n, halo in zip(plan.block[1:], plan.halo_zyx, strict=True)])
    prob = predict(as_array(volume), project)
    source: Any = volume.source
    plane = prob[0, :, 4]
    plane.compute()
    assert plane.data.npartitions < prob[0].data.npartitions
    assert max(np.prod(np.subtract(stop, start)) for start, stop in source.boxes) <= most


def test_frames_and_planes_far_apart_are_computed_apart(frames: Array, project: Project, expected: Array) -> None:
    flat = grow_project(np.random.default_rng(3), frames, "tzyx", [full_selection((0.7,), in_2d=True)])
    prob = lazily(frames, flat)
    with computed_boxes() as boxes:
        part = prob[::2, :, ::-4].compute()
    np.testing.assert_array_equal(part.values, predict_slowly(flat, frames)[0][::2, :, ::-4])
    assert {box.shape[:2] for box in boxes} == {(1, 1)}
    assert sum(box.size for box in boxes) == 2 * 3 * 22 * 26


def test_lists_of_indices_follow_numpy(frames: Array, project: Project, expected: Array) -> None:
    prob = lazily(frames, project)
    np.testing.assert_array_equal(prob[:, [2, 0], 3, ::3].compute().values, expected[:, [2, 0], 3, ::3])
    np.testing.assert_array_equal(prob.isel(z=[7, 1, 1]).compute().values, expected[:, :, [7, 1, 1]])
    np.testing.assert_array_equal(prob[1, 2, 3, 4, 5].compute().values, expected[1, 2, 3, 4, 5])
    assert prob[:, :, 5:5].compute().shape == (3, 3, 0, 22, 26)
    assert prob.mean("c").dims == ("t", "z", "y", "x")


def test_several_results_share_one_pass(frames: Array, project: Project, expected: Array) -> None:
    outputs = ["probabilities", "segmentation", "uncertainty", "features"]
    results = lazily(frames, project, output=outputs, dtype="uint8")
    assert list(results) == outputs
    assert results.segmentation.dims == results.uncertainty.dims == ("t", "z", "y", "x")
    assert results.features.dims == ("t", "feature", "z", "y", "x")
    assert results.feature.values.tolist() == list(project.stages[0].features.names(1, 10))
    with computed_boxes() as boxes:
        computed = dask.compute(results)[0]
    assert sum(box.size for box in boxes) == frames.size
    np.testing.assert_array_equal(computed.probabilities.values, np.rint(expected * np.float32(255)))
    np.testing.assert_array_equal(computed.segmentation.values, 1 + expected.argmax(axis=1))
    np.testing.assert_array_equal(computed.features.values, predict_slowly(project, frames)[1])
    with computed_boxes() as boxes:
        results.segmentation[0, 0, 0, 0].compute()
    assert len(boxes) == 1


@pytest.mark.parametrize("name", ["segmentation", "uncertainty", "features"])
def test_one_result_alone_equals_it_among_others(frames: Array, project: Project, name: str) -> None:
    alone = lazily(frames, project, output=name)
    among = lazily(frames, project, output=["probabilities", name])[name]
    assert (alone.dims, alone.dtype, alone.name) == (among.dims, among.dtype, name)
    np.testing.assert_array_equal(alone.compute().values, among.compute().values)


@pytest.mark.parametrize(
    "chunks",
    [(3, 10, 22, 26), (1, 10, 22, 26), (2, 1, 1, 26), (1, 3, 5, 7), (1, (1, 9), (21, 1), (2, 22, 2))],
)  # from one chunk to chunks thinner than the halo
def test_arrays_in_dask_have_the_same_bits(frames: Array, project: Project, expected: Array, chunks: Any) -> None:
    raw = xarray.DataArray(dask.array.from_array(frames[:, 0], chunks=chunks), dims=list("tzyx"))
    prob: Any = predict(raw, project)
    np.testing.assert_array_equal(prob.compute().values, expected)
    np.testing.assert_array_equal(prob[1, 2, 3, 4:9].compute().values, expected[1, 2, 3, 4:9])


def test_numpy_arrays_and_other_orders_of_dims_have_the_same_bits(
    frames: Array, project: Project, expected: Array
) -> None:
    raw = xarray.DataArray(frames[:, 0], dims=list("tzyx"))
    for given_order in (raw, raw.transpose("x", "z", "t", "y"), raw.expand_dims("c", axis=4)):
        prob: Any = predict(given_order, project)
        assert prob.dims == ("t", "c", "z", "y", "x")
        np.testing.assert_array_equal(prob.compute().values, expected)
    volume = as_array(memory_volume(frames[:, 0].transpose(3, 0, 2, 1), "xtyz"))
    for opened in (volume, volume.transpose("x", "y", "z", "t")):
        np.testing.assert_array_equal(predict(opened, project).compute().values, expected)


def test_part_of_a_volume_is_an_image_of_its_own(frames: Array, project: Project, expected: Array) -> None:
    raw = as_array(memory_volume(frames[:, 0], "tzyx"))
    part: Any = predict(raw[:1, :, 4:, :16], project)
    cut = frames[:1, :, :, 4:, :16]
    np.testing.assert_array_equal(part.compute().values, predict_slowly(project, cut)[0])
    assert not np.array_equal(part.compute().values, expected[:1, :, :, 4:, :16])


def test_coordinates_are_kept(frames: Array, project: Project) -> None:
    coords = {"z": np.arange(10) * 2.5, "time": ("t", [0.0, 1.5, 9.0]), "c": "DAPI", "sample": "mouse"}
    raw = xarray.DataArray(frames[:, 0], dims=list("tzyx"), coords=coords, attrs={"spacing": {"z": 2.5}})
    prob: Any = predict(raw, project)
    assert prob.z.values.tolist() == coords["z"].tolist()  # type: ignore[attr-defined]
    assert prob.time.dims == ("t",)
    assert str(prob.sample.values) == "mouse"
    assert prob.c.values.tolist() == ["Class 1", "Class 2", "Class 3"]
    assert prob.attrs["spacing"] == {"z": 2.5}
    np.testing.assert_array_equal(prob.sel(z=5.0).compute().values, prob[:, :, 2].compute().values)


def test_result_survives_pickling(frames: Array, project: Project, expected: Array) -> None:
    prob = pickle.loads(pickle.dumps(lazily(frames, project)))
    with computed_boxes() as boxes:
        part = prob[0, :, 5, 3:6, 7].compute()
    np.testing.assert_array_equal(part.values, expected[0, :, 5, 3:6, 7])
    assert sum(box.size for box in boxes) == 3


def test_names_tell_results_apart(frames: Array, project: Project) -> None:
    other = grow_project(np.random.default_rng(8), frames, "tzyx", [full_selection((0.7,), in_2d=False)])
    names = [
        lazily(frames, each, **options).data.name for each in (project, other) for options in ({}, {"dtype": "uint8"})
    ]
    names.append(lazily(frames + np.uint8(1), project).data.name)
    with patch("pipeline.plan.make", make):
        names.append(lazily(frames, project).data.name)  # the same voxels, but other blocks under the same keys
    assert len(set(names)) == len(names)
    assert lazily(frames, project).data.name == names[0]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [False, True])
def test_cluster_gives_the_same_bits(
    tmp_path: Path, frames: Array, project: Project, expected: Array, processes: bool
) -> None:
    from distributed import Client

    np.save(tmp_path / "raw.npy", frames[:, 0])
    opened: Any = predict(open_volume(tmp_path / "raw.npy", axes="tzyx"), project)
    in_dask: Any = predict(xarray.DataArray(frames[:, 0], dims=list("tzyx")), project, output=["segmentation"])
    with Client(
        n_workers=2, threads_per_worker=1, processes=processes, dashboard_address=None, worker_dashboard_address=None
    ) as client:
        got, segmentation = client.compute([opened, in_dask], sync=True)
    np.testing.assert_array_equal(got.values, expected)
    np.testing.assert_array_equal(segmentation.segmentation.values, 1 + expected.argmax(axis=1))


@pytest.mark.parametrize(
    ("dims", "dtype", "code"),
    [
        ("tzyw", "uint8", "axes"),
        ("tcyz", "uint8", "axes"),  # no x
        ("czyx", "uint8", "channels"),
        ("tcyx", "uint8", "channels"),
        ("tzyx", "complex64", "dtype"),
        ("tzyx", "datetime64[s]", "dtype"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(frames: Array, project: Project, dims: str, dtype: str, code: str) -> None:
    with pytest.raises(PlanError) as caught:
        predict(xarray.DataArray(frames[:, 0].astype(dtype), dims=list(dims)), project)
    assert caught.value.code == code


def test_array_without_voxels_is_refused(frames: Array, project: Project) -> None:
    with pytest.raises(PlanError, match="empty"):
        predict(xarray.DataArray(frames[:0, 0], dims=list("tzyx")), project)
