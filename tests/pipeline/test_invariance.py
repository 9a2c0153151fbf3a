"""Whatever is asked for, and however it is cut, each voxel has the bits of the slow answer for the whole image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import dask.array
import numpy as np
import numpy.typing as npt
from hypothesis import given, note, settings
from hypothesis import strategies as st

from pipeline import prediction
from pipeline.block_cells import predict_array, predict_cells
from pipeline.blocks import Box, grid
from pipeline.config import Settings
from pipeline.features import FeatureSelection
from pipeline.plan import Plan, make
from pipeline.project import Project
from tests.models import IDS, grow_project, memory_volume, predict_slowly

SCALES = (0.3, 0.7, 1.0, 1.3, 1.6, 2.2, 3.0)
DTYPES = ("uint8", "uint16", "int8", "int16", "float32", "float64")
MORE_DTYPES = ("bool", "int32", "uint32", "int64", "uint64", "float16")  # not for Autocontext
AXES = {False: ("yx", "tyx", "cyx", "xy", "ytxc"), True: ("zyx", "tzyx", "zyxc", "xyz", "cztyx")}


@dataclass(frozen=True, repr=False)
class Case:
    """An image as its file has it and as (t, c, z, y, x), and a project for it."""

    stored: npt.NDArray[Any]
    axes: str
    frames: npt.NDArray[Any]
    project: Project


@st.composite
def selections(draw: st.DrawFn, deep: bool) -> FeatureSelection:
    scales = tuple(draw(st.lists(st.sampled_from(SCALES), min_size=1, max_size=3, unique=True)))
    ids = tuple(draw(st.permutations(IDS))[: draw(st.integers(1, len(IDS)))])
    row = st.tuples(*[st.booleans()] * len(scales))
    matrix = [draw(row) for _ in ids]
    matrix[0] = (True, *matrix[0][1:])
    flags = draw(st.none() | row) if deep else draw(st.sampled_from([None, (True,) * len(scales)]))
    return FeatureSelection(ids, scales, tuple(matrix), flags)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    deep, stages = draw(st.booleans()), draw(st.sampled_from([1, 1, 1, 2]))
    axes = draw(st.sampled_from(AXES[deep]))
    chosen = [draw(selections(deep)) for _ in range(stages)]
    least = max(math.ceil(3.5 * s.scales[j]) + 1 for s in chosen for j in s.used_scales)
    room = {"t": (1, 2), "c": (1, 3), "z": (max(least, 2), least + 8), "y": (least, least + 22), "x": (least, 40)}
    shape = [draw(st.integers(*room[axis])) for axis in axes]
    dtype = np.dtype(draw(st.sampled_from(DTYPES if stages > 1 else DTYPES + MORE_DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    stored = make_image(rng, shape, dtype)
    missing = [axis for axis in "tczyx" if axis not in axes]
    order = [axes.index(axis) for axis in "tczyx" if axis in axes]
    frames = np.expand_dims(stored.transpose(order), ["tczyx".index(axis) for axis in missing])
    labels = draw(st.sampled_from([((1, 2, 3), (1, 2)), ((2, 4), (1, 3, 4)), ((1, 2), (1, 2))]))
    return Case(stored, axes, frames, grow_project(rng, frames, axes, chosen, labels))


def make_image(rng: np.random.Generator, shape: list[int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Noise with a flat part and an edge, over the whole range of integers."""
    image = rng.random(shape)
    image[tuple(slice(0, n // 2) for n in shape)] = 0.5
    image[..., -1] += 0.4
    image /= image.max()
    if dtype.kind == "b":
        return image > 0.5
    if dtype.kind == "f":
        return (image * 200 - 60).astype(dtype)
    low, high = (float(v) for v in (np.iinfo(dtype).min, np.iinfo(dtype).max))
    return (low * 0.99 + image * (high - low) * 0.98).astype(dtype)


@st.composite
def boxes(draw: st.DrawFn, image: Box) -> Box:
    ends = [sorted((draw(st.integers(0, n - 1)), draw(st.integers(1, n)))) for n in image.shape]
    start, stop = zip(*[(a, b if b > a else a + 1) for a, b in ends], strict=True)
    return Box(start, stop)


def plan_of(case: Case, **options: Any) -> Plan:
    volume = memory_volume(case.stored, case.axes)
    return make(volume.whole, volume.n_channels, str(volume.dtype), volume.dims, case.project, **options)


@given(data=st.data())
@settings(max_examples=max(settings().max_examples * 8 // 5, 40))
def test_blocks_of_any_region_have_the_bits_of_the_whole(data: st.DataObject) -> None:
    case = data.draw(cases())
    note(f"{case.axes} {case.stored.shape} {case.stored.dtype} {[s.features for s in case.project.stages]}")
    probabilities, features = predict_slowly(case.project, case.frames)
    plan = plan_of(case, outputs=("probabilities", "features"))
    task = prediction.make_task(memory_volume(case.stored, case.axes), case.project, plan)
    tile = data.draw(st.tuples(st.integers(3, 40), st.integers(3, 40)), "tile")
    with patch.object(prediction, "tile_shape", lambda stack, depth: tile):
        once = prediction.predict_block(task, plan.image)
        np.testing.assert_array_equal(once["features"], features)
        np.testing.assert_array_equal(once["probabilities"], probabilities)
        region = data.draw(boxes(plan.image))
        block = data.draw(st.tuples(st.integers(1, 2), *[st.integers(max(1, n // 3), n) for n in region.shape[1:]]))
        for box in grid(region, block):
            part = prediction.predict_block(task, box)["probabilities"]
            t, *zyx = box.slices()
            np.testing.assert_array_equal(part, probabilities[(t, slice(None), *zyx)])


@given(data=st.data())
def test_plans_under_any_limits_and_arrays_in_dask_have_the_bits_of_the_whole(data: st.DataObject) -> None:
    case = data.draw(cases())
    note(f"{case.axes} {case.stored.shape} {case.stored.dtype} {[s.features for s in case.project.stages]}")
    expected, _ = predict_slowly(case.project, case.frames)
    voxels = data.draw(st.sampled_from([64, 300, 2000]), "chunk voxels")
    limits = Settings(chunk_voxels=voxels, block_voxels=voxels * data.draw(st.sampled_from([1, 3, 20])))
    plan = plan_of(case, outputs=("probabilities", "segmentation"), limits=limits)
    chunks = tuple(data.draw(st.integers(1, n)) for n in case.frames.shape)
    arrays = [
        predict_cells(prediction.make_task(memory_volume(case.stored, case.axes), case.project, plan), plan),
        predict_array(dask.array.from_array(case.frames, chunks=chunks), case.project, plan),
    ]
    for results in arrays:
        np.testing.assert_array_equal(results["probabilities"].compute(scheduler="sync"), expected)
        segmentation = results["segmentation"].compute(scheduler="sync")
        np.testing.assert_array_equal(segmentation[:, 0], expected.argmax(axis=1) + 1)
