"""Projections and leaves, against NumPy and a plain walk."""

from __future__ import annotations

import numpy as np

from numba_ops.projection import find_leaves, project_rows


def test_projection_is_a_matrix_product_row_by_row() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (20, 300), dtype=np.uint8)
    components = rng.normal(size=(300, 4))
    out = np.empty((20, 4))
    project_rows(rows, components, out)
    np.testing.assert_allclose(out, rows.astype(float) @ components, rtol=1e-12, atol=1e-9)
    for first, last in ((0, 1), (3, 17), (19, 20)):  # what is beside a row does not count
        part = np.empty((last - first, 4))
        project_rows(rows[first:last], components, part)
        assert np.array_equal(part, out[first:last])


def test_sums_go_from_the_first_column_to_the_last() -> None:
    rows = np.ones((1, 3), np.uint8)
    out = np.empty((1, 2))
    project_rows(rows, np.array([[1e16, 1.0], [1.0, 1e16], [-1e16, -1e16]]), out)
    assert out.tolist() == [[0.0, 0.0]]


def test_leaves_of_two_trees() -> None:
    column = np.array([0, -1, 1, -1, -1, -1], np.int32)
    threshold = np.array([0.5, 0, -1.0, 0, 0, 0])
    child = np.array([[1, 2], [-1, -1], [3, 4], [-1, -1], [-1, -1], [-1, -1]], np.int32)
    roots = np.array([0, 5], np.int32)  # the second tree is a leaf
    rows = np.array([[0, 0], [0.5, -1.0], [0.5, np.nextafter(np.float32(-1), np.float32(-2))], [1, 9]], np.float32)
    out = np.empty((4, 2), np.int32)
    find_leaves(rows, column, threshold, child, roots, out)
    assert out.tolist() == [[1, 5], [4, 5], [3, 5], [4, 5]]
