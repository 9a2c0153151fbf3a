from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ByteSize

from pipeline.blocks import Box, grid_shape
from pipeline.config import Settings
from pipeline.errors import PlanError
from pipeline.features import FeatureSelection
from pipeline.plan import CHUNK_BYTES, COMFORTABLE, MANY, Plan, build_stack, choose_chunk, make
from pipeline.project import Project, open_project
from tests.models import full_selection, grow_forest, make_project, make_stage
from tests.oracles import GOLDEN, features_of


def golden(name: str) -> Project:
    return open_project(GOLDEN / "projects" / f"{name}.ilp")


def blank_project(selection: FeatureSelection, axes: str = "zyx", channels: int = 1, depth: int = 99) -> Project:
    """A project whose forest fits a selection; what its trees say does not matter."""
    rows = np.zeros((1, selection.n_columns(channels, depth)), np.float32)
    stage = make_stage(grow_forest(np.random.default_rng(0), rows, trees=1, groups=1), selection)
    return make_project([stage], axes, channels)


def plan_of(shape: tuple[int, ...], project: Project, dims: str = "zyx", dtype: str = "uint8", **options: Any) -> Plan:
    return make(Box.whole(shape), options.pop("n_channels", 1), dtype, dims, project, **options)


DEEP = blank_project(full_selection((1.0, 1.6), in_2d=False))


@given(
    shape=st.tuples(st.integers(1, 3), *[st.integers(8, 400)] * 3),
    chunk=st.sampled_from([100, 5000, 64**3]),
    blocks=st.sampled_from([1, 7, 300]),
    memory=st.sampled_from([8, 64, 1024]),
)
def test_plan_keeps_its_limits_or_says_that_it_cannot(
    shape: tuple[int, ...], chunk: int, blocks: int, memory: int
) -> None:
    limits = Settings(chunk_voxels=chunk, block_voxels=chunk * blocks, task_memory=ByteSize(memory << 20))
    chunk_alone = Settings(chunk_voxels=chunk, block_voxels=1, task_memory=ByteSize(1 << 40))
    if plan_of(shape, DEEP, limits=chunk_alone).task_bytes > limits.task_memory:
        with pytest.raises(PlanError, match="VOXELFOREST_TASK_MEMORY") as caught:
            plan_of(shape, DEEP, limits=limits)
        assert caught.value.code == "task_memory"
        return
    plan = plan_of(shape, DEEP, limits=limits)
    assert plan.task_bytes <= limits.task_memory
    assert math.prod(plan.chunk) <= chunk
    assert math.prod(plan.block) <= max(chunk * blocks, math.prod(plan.chunk))
    for block, small, whole in zip(plan.block, plan.chunk, shape, strict=True):
        assert block % small == 0 or block == whole  # no output chunk belongs to two tasks


@given(
    shape=st.tuples(st.integers(1, 3), *[st.integers(8, 90)] * 3),
    start=st.tuples(*[st.integers(0, 7)] * 4),
    voxels=st.integers(30, 4000),
)
def test_numbers_of_a_plan_are_those_counted_block_by_block(
    shape: tuple[int, ...], start: tuple[int, ...], voxels: int
) -> None:
    region = Box(tuple(min(a, n - 1) for a, n in zip(start, shape, strict=True)), shape)  # type: ignore[arg-type]
    limits = Settings(chunk_voxels=voxels, block_voxels=2 * voxels)
    plan = plan_of(shape, DEEP, dims="tzyx", dtype="uint16", region=region, limits=limits)
    n = 0
    read = written = 0
    for n, block in enumerate(plan.blocks(), start=1):  # noqa: B007
        read += block.grow(plan.halo_zyx, plan.image).size * 2
        written += block.size * 3 * 4
    assert (plan.n_tasks, plan.read_bytes, plan.output_bytes) == (n, read, written)


def test_numbers_of_ten_million_blocks_are_cheap() -> None:
    plan = plan_of((1, 13_800, 13_800, 13_800), DEEP, limits=Settings(block_voxels=64**3))
    assert plan.n_tasks == 216**3
    assert 1 < plan.read_bytes / 13_800**3 < 2


def test_blocks_of_very_many_use_the_memory_that_there_is() -> None:
    """A hundred thousand comfortable blocks become fewer and larger ones; ninety thousand stay."""
    project = blank_project(full_selection((1.0, 1.6), in_2d=False))
    limits = Settings(block_voxels=256**3, task_memory=ByteSize(1 << 30))
    small, large = (plan_of((1, edge, edge, edge), project, limits=limits) for edge in (4_000, 14_000))
    assert small.task_bytes <= COMFORTABLE < large.task_bytes <= limits.task_memory
    assert small.n_tasks < MANY
    assert math.prod(large.block) >= 4 * math.prod(small.block)
    alone = plan_of((1, 14_000, 14_000, 14_000), project, limits=Settings(task_memory=ByteSize(COMFORTABLE)))
    assert alone.block == small.block


@pytest.mark.parametrize("in_2d", [False, True])
@pytest.mark.parametrize("scales", [(0.3,), (0.7,), (1.0, 0.3), (1.6,), (2.5, 1.0)])
@pytest.mark.parametrize("feature", [0, 1, 2, 3, 4, 5, None])
def test_halo_reaches_to_the_furthest_voxel_that_matters(
    feature: int | None, scales: tuple[float, ...], in_2d: bool
) -> None:
    selection = full_selection(scales, in_2d)
    if feature is not None:
        ids, rows = selection.ids[feature : feature + 1], selection.matrix[feature : feature + 1]
        selection = FeatureSelection(ids, scales, rows, selection.compute_in_2d)
    halo = build_stack(selection, 1, 31).halo_zyx
    assert (halo[0] == 0) == in_2d
    size, at = (1, 27, 27, 27), 13
    rng = np.random.default_rng(1)
    volume = rng.integers(0, 255, size).astype(np.float32)
    before = features_of(selection, volume)
    for axis, reach in enumerate(halo):
        for distance in {reach + 1, reach}:
            if at + distance >= 27 or (axis == 0 and distance == 0):
                continue
            place = [0, at, at, at]
            place[axis + 1] += distance
            changed = volume.copy()
            changed[tuple(place)] += 1e6
            same = np.array_equal(features_of(selection, changed)[:, at, at, at], before[:, at, at, at])
            # A halo may be a voxel wider than one feature alone needs, never narrower.
            assert same or distance <= reach


def test_halo_of_all_features_is_not_a_voxel_too_wide() -> None:
    selection = full_selection((1.6,), in_2d=False)
    reach = build_stack(selection, 1, 31).halo_zyx[0]
    volume = np.random.default_rng(1).random((1, 27, 27, 27)).astype(np.float32)
    changed = volume.copy()
    changed[0, 13 + reach, 13, 13] += 1e6
    before, after = (features_of(selection, v)[:, 13, 13, 13] for v in (volume, changed))
    assert not np.array_equal(before, after)


def test_halo_of_autocontext_is_the_sum_of_both_stages() -> None:
    project = golden("ac_2d")
    first, both = (plan_of((1, 1, 96, 80), project, dims="yx", stage=stage) for stage in (1, 2))
    assert both.halo_zyx == tuple(sum(stack.halo_zyx[axis] for stack in both.stacks) for axis in range(3))
    assert len(first.stacks) == 1
    assert first.halo_zyx == first.stacks[0].halo_zyx


def test_halo_along_z_is_that_of_the_scales_in_3d() -> None:
    selection = FeatureSelection(("GaussianSmoothing",), (1.0, 5.0), ((True, True),), (False, True))
    z, y, x = build_stack(selection, 1, 50).halo_zyx
    assert z < y == x


@pytest.mark.parametrize(
    ("shape", "chunk"),
    [
        ((1, 300, 300, 300), (1, 64, 64, 64)),
        ((9, 300, 300, 300), (1, 64, 64, 64)),  # one time point
        ((1, 1, 4000, 4000), (1, 1, 512, 512)),  # a plane is cut as a plane
        ((1, 3, 4000, 4000), (1, 3, 256, 256)),
        ((1, 20, 30, 40), (1, 20, 30, 40)),
        ((1, 1, 10, 100_000), (1, 1, 10, 16384)),
        ((1, 5000, 1, 1), (1, 5000, 1, 1)),
    ],
)
def test_chunk_is_a_cube_or_wider_where_an_axis_is_short(shape: tuple[int, ...], chunk: tuple[int, ...]) -> None:
    assert choose_chunk(shape, 64**3) == chunk


@given(shape=st.tuples(*[st.integers(1, 10_000)] * 4), voxels=st.integers(1, 10**6))
def test_chunk_is_never_larger_than_allowed_nor_than_the_volume(shape: tuple[int, ...], voxels: int) -> None:
    chunk = choose_chunk(shape, voxels)
    assert math.prod(chunk) <= voxels
    assert all(1 <= a <= b for a, b in zip(chunk, shape, strict=True))


def test_chunk_does_not_depend_on_memory() -> None:
    chunks = {
        plan_of((1, 300, 300, 300), DEEP, limits=Settings(task_memory=ByteSize(memory << 20))).chunk
        for memory in (64, 100, 256, 4096)
    }
    assert chunks == {(1, 64, 64, 64)}


def test_features_of_one_plane_are_those_of_a_plane() -> None:
    selection = full_selection((1.0,))  # as old projects have it: in 2-D where there is one plane
    plan = plan_of((1, 1, 50, 60), blank_project(selection, depth=1), outputs=["features"])
    assert len(plan.results[0].channels) == selection.n_columns(1, 1) < selection.n_columns(1, 50)


def test_chunk_of_hundreds_of_features_stays_small() -> None:
    project = blank_project(full_selection((0.3, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0), in_2d=False), "zyxc", channels=3)
    plan = plan_of((1, 300, 300, 300), project, dims="czyx", n_channels=3, outputs=["features"])
    assert plan.results[0].voxel_bytes * math.prod(plan.chunk) <= CHUNK_BYTES


def test_thin_region_is_cut_as_a_slab() -> None:
    region = Box((0, 100, 0, 0), (1, 101, 512, 512))
    plan = plan_of((1, 512, 512, 512), DEEP, region=region)
    assert plan.chunk == (1, 1, 512, 512)
    assert grid_shape(region, plan.block) == (1, 1, 1, 1)


@pytest.mark.parametrize("axes", ["zx", "zy", "tzx", "x", ""])
def test_axes_without_x_or_y_are_refused(axes: str) -> None:
    with pytest.raises(PlanError, match="y and x among them") as caught:
        plan_of((50, 50, 50, 50), DEEP, dims=axes)
    assert caught.value.code == "axes"


@pytest.mark.parametrize(
    ("name", "dims", "shape", "options", "code", "said"),
    [
        ("pc_2d", "zyx", (1, 9, 96, 80), {}, "dimensions", 'axes="tyx"'),
        (
            "pc_2d",
            "tzyx",
            (2, 9, 96, 80),
            {},
            "dimensions",
            "trained on 'yx' .dimensions",
        ),  # t is taken: nothing to suggest
        ("pc_3d", "tyx", (37, 1, 40, 38), {}, "dimensions", 'axes="zyx"'),
        ("pc_3d", "yx", (1, 1, 40, 38), {}, "dimensions", "'zyx'"),
        ("pc_2d", "cyx", (1, 1, 96, 80), {"n_channels": 3}, "channels", "3 channel.*trained on 1"),
        ("pc_2d3c", "yx", (1, 1, 96, 80), {}, "channels", "1 channel.*trained on 3"),
        ("pc_3d", "zyx", (1, 10, 40, 38), {}, "image_too_small", "z=10"),
        ("pc_2d", "yx", (1, 1, 96, 10), {}, "image_too_small", "x=10"),
        ("ac_2d", "yx", (1, 1, 96, 80), {"dtype": "uint32"}, "dtype", "uint32"),
        ("ac_2d", "yx", (1, 1, 96, 80), {"dtype": "bool"}, "dtype", "bool"),
        ("ac_2d", "yx", (1, 1, 96, 80), {"stage": 3}, "stage", "stage 3"),
        ("ac_2d", "yx", (1, 1, 96, 80), {"stage": 0}, "stage", "stage 0"),
        ("pc_2d", "yx", (1, 1, 96, 80), {"stage": 2}, "stage", "has 1"),
        ("pc_2d", "yx", (1, 1, 96, 80), {"region": Box((0, 0, 0, 0), (1, 1, 97, 80))}, "region", "y=0:97"),
        ("pc_2d", "yx", (1, 1, 96, 80), {"region": Box((0, 0, 5, 0), (1, 1, 5, 80))}, "region", "empty"),
        ("pc_2d", "yx", (1, 1, 96, 80), {"outputs": ["labels"]}, "output", "'labels'"),
        ("pc_2d", "yx", (1, 1, 96, 80), {"stored_type": "int8"}, "dtype", "int8"),
    ],
)
def test_what_does_not_fit_is_refused(
    name: str, dims: str, shape: tuple[int, ...], options: dict[str, Any], code: str, said: str
) -> None:
    with pytest.raises(PlanError, match=said) as caught:
        plan_of(shape, golden(name), dims=dims, **options)
    assert caught.value.code == code


def test_bool_counts_as_0_and_1_but_not_for_autocontext() -> None:
    assert plan_of((1, 1, 96, 80), golden("pc_2d"), dims="yx", dtype="bool").n_tasks == 1
    with pytest.raises(PlanError):
        plan_of((1, 1, 96, 80), golden("ac_2d"), dims="yx", dtype="bool")


def test_blocks_grow_evenly_in_the_plane() -> None:
    for shape in ((1, 64, 8192, 8192), (1, 1024, 1024, 1024)):
        _, _, y, x = plan_of(shape, DEEP).block
        assert x <= y <= 2 * x or y <= x <= 2 * y


def test_large_volumes_make_blocks_of_whole_chunks_and_many_voxels() -> None:
    plan = plan_of((1, 1024, 1024, 1024), DEEP)
    assert plan.chunk == (1, 64, 64, 64)
    ratios = [b / c for b, c in zip(plan.block, plan.chunk, strict=True)]
    assert all(r == int(r) for r in ratios)
    assert math.prod(ratios) > 4
    outer = math.prod(n + 2 * h for n, h in zip(plan.block[1:], plan.halo_zyx, strict=True))
    assert outer < 2 * math.prod(plan.block)  # what is read twice is less than what is needed


@pytest.mark.parametrize("name", sorted(path.stem for path in (GOLDEN / "projects").glob("*.ilp")))
def test_every_golden_project_has_a_plan_of_one_task(name: str) -> None:
    project = golden(name)
    inputs = {"pc_2d3c": "in_2d3c_u8", "pc_3d": "in_3d_u8", "pc_3d_mixed": "in_3d_u16", "pc_t_2d": "in_t_u8"}
    shape = np.load(GOLDEN / f"{inputs.get(name, 'in_t3d_f32' if name == 'pc_t_3d' else 'in_2d_u8')}.npy").shape
    axes = {"pc_missing_class": "yx", "pc_xy_order": "yx"}.get(name, project.axes)[: len(shape)]
    length = dict(zip(axes, shape, strict=True))
    image = Box.whole([length.get(axis, 1) for axis in "tzyx"])
    plan = make(image, length.get("c", 1), "uint8", "".join(a for a in "tczyx" if a in axes), project)
    assert plan.n_tasks == image.shape[0]
    assert plan.stacks[0].n_columns == project.stages[0].forest.n_columns
    assert list(itertools.chain(plan.results[0].channels)) == list(project.stages[-1].class_names)
