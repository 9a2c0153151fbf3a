"""Loops over labels against plain Python and SciPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from numba_ops._jit import freeze
from numba_ops.components import CODE_SHIFT, join_pairs, measure_components, number_trees, pair_labels, replace_labels


def _draw_labels(seed: int, shape: tuple[int, ...], density: float = 0.5) -> NDArray[np.uint32]:
    return ndimage.label(np.random.default_rng(seed).random(shape) < density)[0].astype(np.uint32)


def test_components_are_measured_where_they_lie_in_the_image() -> None:
    labels = _draw_labels(3, (6, 7, 9), 0.3)
    n = int(labels.max())
    sizes, firsts = np.zeros(n, np.int64), np.empty(n, np.int64)
    image = np.zeros((10, 12, 20), np.uint32)
    image[2:8, 3:10, 4:13] = labels
    measure_components(labels, (2 * 12 + 3) * 20 + 4, 20, 12 * 20, sizes, firsts)
    np.testing.assert_array_equal(sizes, np.bincount(labels.ravel())[1:])
    np.testing.assert_array_equal(firsts, [np.flatnonzero(image == i + 1)[0] for i in range(n)])


@pytest.mark.parametrize("reach", [0, 1])
def test_pairs_are_those_that_meet(reach: int) -> None:
    left, right = _draw_labels(1, (8, 11)), _draw_labels(2, (8, 11))
    expected = set()
    for y, x in np.ndindex(left.shape):
        for dy, dx in itertools.product(range(-reach, reach + 1), repeat=2):
            if 0 <= y + dy < 8 and 0 <= x + dx < 11 and left[y, x] and right[y + dy, x + dx]:
                expected.add((int(left[y, x]), int(right[y + dy, x + dx])))
    codes = np.empty(left.size * 9, np.int64)
    found = codes[: pair_labels(freeze(left), freeze(right), reach, codes)]
    assert {(code >> CODE_SHIFT, code & 0xFFFFFFFF) for code in found.tolist()} == expected


@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=60))
def test_joined_elements_are_connected_components(n: int, pairs: list[tuple[int, int]]) -> None:
    edges = np.array([pair for pair in pairs if max(pair) < n], np.int64).reshape(-1, 2).T
    parent, number = np.arange(n), np.empty(n, np.int64)
    join_pairs(parent, freeze(edges[0]), freeze(edges[1]))
    trees = number_trees(parent, number)
    matrix = coo_array((np.ones(edges.shape[1]), (edges[0], edges[1])), shape=(n, n))
    expected, component = connected_components(matrix, directed=False)
    assert trees == expected
    seen = [int(number[np.flatnonzero(component == c)[0]]) for c in range(expected)]
    np.testing.assert_array_equal(number, np.array(seen)[component])
    firsts = [int(np.flatnonzero(number == k)[0]) for k in range(trees)]
    assert firsts == sorted(firsts)


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_labels_are_replaced(dtype: type[np.unsignedinteger[Any]]) -> None:
    labels = _draw_labels(5, (300,))
    ids = np.random.default_rng(0).permutation(int(labels.max()) + 1).astype(dtype)
    out = np.empty(300, dtype)
    replace_labels(freeze(labels), ids, out)
    np.testing.assert_array_equal(out, ids[labels])
