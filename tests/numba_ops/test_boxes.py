"""Kernels of boxes and planes against NumPy, SciPy and integers of any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from numba_ops import boxes
from tests.synapses import score_planes, to_bytes

TYPES = ("uint8", "uint16", "uint32", "uint64")


def draw(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Values of the whole range of a type, its ends among them."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    values.flat[:2] = np.iinfo(dtype).max
    return values


@pytest.mark.parametrize("dtype", TYPES)
def test_sums_of_planes_are_exact(dtype: str) -> None:
    values, sums = draw(dtype, (3, 17, 19)), np.zeros((3, boxes.PLANE_SUMS), np.uint64)
    add = boxes.sum_planes if values.itemsize <= 2 else boxes.sum_wide_planes
    add(values[:, :9], sums)
    add(values[:, 9:], sums)
    for plane, found in zip(values, sums.tolist(), strict=True):
        low, high, *halves = found
        squares, mixed, upper = (a + (b << 64) for a, b in zip(halves[::2], halves[1::2], strict=True))
        assert low + (high << 32) == sum(map(int, plane.flat))
        assert squares + (mixed << 33) + (upper << 64) == sum(int(v) ** 2 for v in plane.flat)


@pytest.mark.parametrize("dtype", TYPES[1:])
def test_scale_to_bytes_as_numpy_has_it(dtype: str) -> None:
    values = np.arange(65536, dtype=dtype) if dtype == "uint16" else draw(dtype, (5000,))
    out = np.empty(values.size, np.uint8)
    boxes.scale_to_bytes(values, float(np.iinfo(dtype).max), out)
    assert np.array_equal(out, to_bytes(values))


@given(st.integers(0, 1000), st.tuples(*[st.integers(1, 6)] * 3))
def test_box_covariances_are_those_of_boxes(seed: int, shape: tuple[int, int, int]) -> None:
    a, b = (np.random.default_rng(seed + k).integers(0, 256, shape).astype(np.int64) for k in (0, 1))
    out = np.empty(shape, np.int32)
    padded = [np.pad(v.astype(np.uint8), 1, mode="edge") for v in (a, b)]
    boxes.box_covariances(*padded, out)
    ones = np.ones((3, 3, 3), np.int64)
    sums = [ndimage.convolve(v, ones, mode="reflect") for v in (a, b, a * b)]
    assert np.array_equal(out, 27 * sums[2] - sums[0] * sums[1])


def test_largest_covariance_fits() -> None:
    a = np.zeros((3, 3, 3), np.uint8)
    a.flat[::2] = 255
    out = np.empty((1, 1, 1), np.int32)
    for b, sign in ((a, 1), (255 - a, -1)):
        boxes.box_covariances(a, b, out)
        assert out[0, 0, 0] == sign * 14 * 13 * 255**2


def test_original_map_has_the_bits_of_scipy() -> None:
    a, b = draw("uint8", (7, 9, 11)), draw("uint8", (7, 9, 11), 1)
    za, zb = ((v - v.mean()) / v.std() for v in (a.astype(float), b.astype(float)))
    share = np.ones((3, 3, 3)) / 27
    e1, e2, both = (ndimage.convolve(v, share, mode="reflect") for v in (za, zb, za + zb))
    means, deviations = np.array([a.mean(), b.mean()]), np.array([a.astype(float).std(), b.astype(float).std()])
    out = np.empty(a.shape)
    boxes.original_map(np.pad(a, 1, mode="edge"), np.pad(b, 1, mode="edge"), means, deviations, out)
    assert np.array_equal(out, both - e1 + e2)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=60))
def test_bins_of_integers(values: list[int]) -> None:
    low, high = min(values), max(values)
    if low == high:
        return
    counts = np.zeros(256, np.int64)
    boxes.count_bins(np.array(values, np.int32), low, high - low, counts)
    expected = [min((v - low) * 256 // (high - low), 255) for v in values]
    assert np.array_equal(counts, np.bincount(expected, minlength=256))


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=60))
def test_bins_between_edges_are_those_of_numpy(values: list[float]) -> None:
    low, high = min(values), max(values)
    if high - low < 1e-9:
        return
    edges, counts = np.linspace(low, high, 257), np.zeros(256, np.int64)
    both = np.concatenate([values, edges])
    boxes.count_between(both, edges, counts)
    assert np.array_equal(counts, np.histogram(both, 256, (low, high))[0])


@pytest.mark.parametrize("dtype", TYPES)
def test_boxes_are_summed_and_cut(dtype: str) -> None:
    values = draw(dtype, (9, 12, 13))
    corners = np.array([[0, 0, 0], [5, 2, 3], [4, 7, 8]])
    sums = np.empty((3, 4, 2), np.uint64)
    boxes.sum_boxes(values, corners, 5, 4, sums)
    for (z, y, x), found in zip(corners, sums.tolist(), strict=True):
        for k, (low, high) in enumerate(found):
            assert low + (high << 32) == sum(map(int, values[z + k, y : y + 5, x : x + 4].flat))
    cut = np.empty((3, 2, 5, 4), np.uint8)
    boxes.cut_boxes(values.astype(np.uint8), corners, cut)
    for (z, y, x), part in zip(corners, cut, strict=True):
        assert np.array_equal(part, values[z : z + 2, y : y + 5, x : x + 4].astype(np.uint8))


@pytest.mark.parametrize("dtype", TYPES)
def test_scores_wrap_as_the_type_does(dtype: str) -> None:
    values, out = draw(dtype, (3, 17, 19)), np.empty((3, 17, 19), dtype)
    values[1] = 7
    exact = values.astype(np.float64)
    boxes.wrap_scores(values, exact.mean(axis=(1, 2)), exact.std(axis=(1, 2)), out)
    assert np.array_equal(out, score_planes(values, legacy=True))
    assert not out[1].any()
