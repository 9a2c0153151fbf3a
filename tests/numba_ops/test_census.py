"""Counting labels of a cell, against NumPy on the same voxels."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from numba_ops import census

Array = NDArray[Any]


def draw_labels(seed: int, shape: tuple[int, int, int], n: int) -> Array:
    """Labels in runs, of all sizes up to 2^64."""
    rng = np.random.default_rng(seed)
    ids = np.concatenate([[0], rng.integers(1, 2**64, n, dtype=np.uint64), np.arange(1, n + 1, dtype=np.uint64)])
    return np.repeat(rng.choice(ids, shape[0] * shape[1] * shape[2]), 3).reshape(*shape[:2], -1).astype(np.uint64)


@given(seed=st.integers(0, 2**32), shape=st.tuples(*[st.integers(1, 9)] * 3), n=st.sampled_from([1, 2, 40, 3000]))
def test_sums_are_those_of_numpy(seed: int, shape: tuple[int, int, int], n: int) -> None:
    labels = draw_labels(seed, shape, n)
    numbers, ids = np.empty(labels.shape, np.int32), np.empty(labels.size, np.uint64)
    count = census.number_labels(labels, numbers, ids)
    assert sorted(ids[:count]) == sorted(set(labels.ravel().tolist()) - {0})
    assert np.array_equal(np.concatenate([ids[:count], [0]]).astype(np.uint64)[numbers], labels)
    counts, sums = np.zeros(count, np.int64), np.zeros((count, 3), np.int64)
    products = np.zeros((count, 6), np.int64)
    low, high = np.full((count, 3), 99, np.int64), np.zeros((count, 3), np.int64)
    census.add_positions(numbers, counts, low, high, sums, products)
    for i in range(count):
        z, y, x = places = np.nonzero(numbers == i)
        assert counts[i] == len(z)
        assert sums[i].tolist() == [axis.sum() for axis in places]
        assert products[i].tolist() == [(a * b).sum() for a, b in ((z, z), (y, y), (x, x), (z, y), (z, x), (y, x))]
        assert low[i].tolist() == [axis.min() for axis in places]
        assert high[i].tolist() == [axis.max() + 1 for axis in places]


def test_more_labels_than_the_first_table_holds() -> None:
    labels = np.arange(20**3, dtype=np.uint64).reshape(20, 20, 20) << np.uint64(40)
    numbers, ids = np.empty(labels.shape, np.int32), np.empty(labels.size, np.uint64)
    assert census.number_labels(labels, numbers, ids) == 20**3 - 1
    assert np.array_equal(numbers.ravel(), np.arange(-1, 20**3 - 1))


def test_values_and_nan() -> None:
    numbers = np.array([[[0, 0, 1, 1, -1]]], np.int32)
    values = np.array([[[1.0, 4.0, np.nan, 2.0, 100.0]]])
    total, squares = np.zeros(2), np.zeros(2)
    least, most = np.full(2, np.inf), np.full(2, -np.inf)
    census.add_values(numbers, values, total, least, most)
    census.add_deviations(numbers, values, total / 2, squares)
    assert (total[0], least[0], most[0], squares[0]) == (5.0, 1.0, 4.0, 4.5)
    assert np.isnan([total[1], least[1], most[1], squares[1]]).all()


@given(seed=st.integers(0, 2**32), parts=st.integers(1, 12), groups=st.integers(1, 4))
def test_moments_of_parts_are_those_of_the_whole(seed: int, parts: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [rng.normal(1e6, 1, (rng.integers(1, 30), 2)) for _ in range(parts * groups)]
    means = np.array([part.mean(axis=0) for part in samples])
    pairs = np.array([(0, 0), (0, 1)])

    def moments(values: Array) -> list[float]:
        apart = values - values.mean(axis=0)
        return [float((apart[:, a] * apart[:, b]).sum()) for a, b in pairs]

    starts = np.arange(0, parts * groups + 1, parts)
    merged, totals = np.empty((groups, 2)), np.empty((groups, 2))
    counts = np.array([len(part) for part in samples])
    census.merge_moments(starts, counts, means, np.array([moments(part) for part in samples]), pairs, merged)
    census.merge_sums(starts, means, totals)
    for group in range(groups):
        whole = np.concatenate(samples[starts[group] : starts[group + 1]])
        assert np.allclose(merged[group], moments(whole), rtol=1e-6, atol=1e-6)
        assert np.allclose(totals[group], means[starts[group] : starts[group + 1]].sum(axis=0))
