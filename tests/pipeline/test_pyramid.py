from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.images import SPATIAL, ImageSpec
from pipeline.pyramid import Level, cascade, chunk_boxes, estimate_bytes, levels, shrink, source_box, weights_at
from tests.outputs import make_spec, make_values

Array = NDArray[Any]


@st.composite
def specs(draw: st.DrawFn, dtypes: tuple[str, ...] = ("float32", "uint8", "uint16"), reduce: str = "mean") -> ImageSpec:
    dims = draw(st.sampled_from(["yx", "zyx", "czyx", "tyx", "tczyx", "cyx"]))
    longest = {"t": 3, "c": 3, "z": 13, "y": 21, "x": 21}
    shape = tuple(draw(st.integers(1, longest[a])) for a in dims)
    chunks = tuple(n if a == "c" else draw(st.integers(1, 8)) for a, n in zip(dims, shape, strict=True))
    return ImageSpec("p", dims, shape, chunks, draw(st.sampled_from(dtypes)), reduce=reduce)  # type: ignore[arg-type]


def _slices(start: tuple[int, ...], stop: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(a, b) for a, b in zip(start, stop, strict=True))


def build(spec: ImageSpec, values: Array) -> list[Array]:
    """All levels, each made chunk by chunk from the one before."""
    geometry = levels(spec)
    made = [values]
    for before, after in itertools.pairwise(geometry):
        level = np.full(after.shape, 77, spec.dtype)
        for start, stop in after.boxes():
            low, high = source_box(before, after, start, stop)
            block = made[-1][_slices(low, high)]
            level[_slices(start, stop)] = shrink(block, spec.dims, weights_at(before, high), spec.reduce)
        made.append(level)
    return made


def block_means(values: Array, factors: tuple[int, ...]) -> Array:
    """The mean of each block of level 0, cut at the image's end, voxel by voxel in double precision."""
    shape = tuple(math.ceil(n / f) for n, f in zip(values.shape, factors, strict=True))
    means = np.empty(shape)
    for index in np.ndindex(*shape):
        block = values[tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True))]
        means[index] = block.mean(dtype=np.float64)
    return means


@given(specs(), st.integers(0, 2**32 - 1))
def test_each_level_is_the_block_mean_of_level_0(spec: ImageSpec, seed: int) -> None:
    values = make_values(spec, seed)
    for k, (level, made) in enumerate(zip(levels(spec), build(spec, values), strict=True)):
        expected = block_means(values, level.factors)
        assert made.shape == level.shape == expected.shape
        rounding = 1e-6 * k if spec.dtype == "float32" else 0.5 * k + 1e-9
        assert np.abs(made - expected).max() <= rounding


@given(specs(dtypes=("uint8", "uint64", "float32"), reduce="stride"), st.integers(0, 2**32 - 1))
def test_each_level_of_labels_is_every_second_voxel_again(spec: ImageSpec, seed: int) -> None:
    values = make_values(spec, seed)
    for level, made in zip(levels(spec), build(spec, values), strict=True):
        assert np.array_equal(made, values[tuple(slice(None, None, f) for f in level.factors)])


@given(specs(), st.integers(0, 2**32 - 1))
def test_levels_do_not_depend_on_the_cut_into_chunks(spec: ImageSpec, seed: int) -> None:
    values = make_values(spec, seed)
    for before, after, block in zip(levels(spec), levels(spec)[1:], build(spec, values), strict=False):
        whole = shrink(block, spec.dims, weights_at(before, before.shape), spec.reduce)
        pieces = build_one(spec, before, after, block)
        assert whole.tobytes() == pieces.tobytes()


def build_one(spec: ImageSpec, before: Level, after: Level, block: Array) -> Array:
    made = np.empty(after.shape, spec.dtype)
    for start, stop in after.boxes():
        low, high = source_box(before, after, start, stop)
        made[_slices(start, stop)] = shrink(block[_slices(low, high)], spec.dims, weights_at(before, high), "mean")
    return made


@given(specs())
def test_levels_halve_space_until_one_chunk_holds_it(spec: ImageSpec) -> None:
    geometry = levels(spec)
    for before, after in itertools.pairwise(geometry):
        for a, n, m in zip(spec.dims, before.shape, after.shape, strict=True):
            assert m == (math.ceil(n / 2) if a in SPATIAL else n)
    fits = [all(n <= c for a, n, c in zip(spec.dims, g.shape, spec.chunks, strict=True) if a in SPATIAL)
            for g in geometry]  # fmt: skip
    assert fits == [False] * (len(geometry) - 1) + [True]


@given(specs())
def test_chunks_cover_each_voxel_once(spec: ImageSpec) -> None:
    seen = np.zeros(spec.shape, int)
    for start, stop in chunk_boxes(spec.shape, spec.chunks):
        seen[_slices(start, stop)] += 1
    assert seen.min() == seen.max() == 1


def test_axis_of_one_voxel_does_not_halve() -> None:
    plane = ImageSpec("p", "zyx", (1, 64, 64), (1, 16, 16), "uint8")
    assert [level.factors for level in levels(plane)] == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]


@pytest.mark.parametrize(
    ("pair", "mean"),
    [((0, 1), 0), ((1, 2), 2), ((2, 3), 2), ((254, 255), 254)],  # halves go to the even neighbour
)
def test_integer_means_round_half_to_even(pair: tuple[int, int], mean: int) -> None:
    assert shrink(np.array([pair], np.uint8), "yx", (1.0, 1.0), "mean").item() == mean


@pytest.mark.parametrize(("block", "mean"), [([[1, 0], [1, 0]], 0), ([[2, 2], [1, 0]], 2)])
def test_integer_half_is_seen_through_uneven_weights(block: list[list[int]], mean: int) -> None:
    # the second row weighs one half: sums of 1.5 and 4.5 over 3 are 0.5 and 1.5
    assert shrink(np.array(block, np.uint16), "yx", (0.5, 1.0), "mean").item() == mean


def test_shrink_leaves_its_input_alone() -> None:
    block = np.ones((3, 4, 4), np.float32)
    shrink(block, "zyx", (0.5, 0.5, 0.5), "mean")
    assert np.array_equal(block, np.ones((3, 4, 4), np.float32))


def test_time_and_channels_are_never_mixed() -> None:
    block = np.arange(6, dtype=np.float32).reshape(3, 2, 1, 1) * np.ones((1, 1, 4, 4), np.float32)
    assert np.array_equal(shrink(block, "tcyx", (1.0,) * 4, "mean"), block[:, :, :2, :2])


def test_estimate_counts_every_level_for_zarr_and_level_0_for_files() -> None:
    spec = make_spec((2, 20, 35, 33), dtype="uint16")
    sizes = [math.prod(level.shape) * 2 for level in levels(spec)]
    assert estimate_bytes([spec, spec]) == 2 * sum(sizes)
    assert estimate_bytes([spec], pyramid=False) == sizes[0]


@given(specs(), st.integers(0, 2**32 - 1), st.tuples(*[st.integers(1, 4)] * 5))
def test_blocks_make_the_coarser_files_that_they_cover(spec: ImageSpec, seed: int, multiples: tuple[int, ...]) -> None:
    values, geometry = make_values(spec, seed), levels(spec)
    whole = build(spec, values)
    block = [c * m for c, m in zip(spec.chunks, multiples, strict=False)]
    for start, stop in chunk_boxes(spec.shape, block):
        for k, first, made in cascade(spec, geometry, start, values[_slices(start, stop)]):
            end = tuple(a + n for a, n in zip(first, made.shape, strict=True))
            assert made.tobytes() == np.ascontiguousarray(whole[k][_slices(first, end)]).tobytes()
            files = zip(first, end, geometry[k].chunks, geometry[k].shape, strict=True)
            assert all(a % c == 0 and (b % c == 0 or b == n) for a, b, c, n in files)


def test_block_of_the_whole_image_makes_every_level() -> None:
    spec = make_spec()
    made = {k: part for k, _, part in cascade(spec, levels(spec), (0, 0, 0, 0), make_values(spec))}
    assert [part.shape for part in made.values()] == [level.shape for level in levels(spec)[1:]]
