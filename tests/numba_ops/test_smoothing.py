"""Smoothing before a threshold: the plain double sums, whatever the part."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numba_ops._jit import freeze
from numba_ops.smoothing import PIECE, smooth_columns, smooth_rows


def _taps(sigma: float, radius: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return taps / taps.sum()


@given(data=st.data())
def test_any_part_of_rows_has_the_bits_of_the_plain_sum(data: st.DataObject) -> None:
    outer, n, inner = data.draw(st.tuples(st.integers(1, 3), st.integers(2, 30), st.integers(1, 40)))
    sigma = data.draw(st.floats(0.1, (n - 1) / 2))
    radius = min(max(1, int(2 * sigma + 0.5)), n - 1)
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    image = np.random.default_rng(data.draw(st.integers(0, 99))).random((outer, n, inner), np.float32)
    origin, end = max(start - radius, 0), min(stop + radius, n)
    taps = _taps(sigma, radius)
    padded = np.pad(image, ((0, 0), (radius, radius), (0, 0)), mode="reflect").astype(np.float64)
    sums = np.zeros(image.shape)
    for j, tap in enumerate(taps):
        sums = sums + tap * padded[:, j : j + n]
    expected = sums.astype(np.float32)[:, start:stop]
    rows = np.empty((outer, stop - start, inner), np.float32)
    smooth_rows(freeze(image[:, origin:end]), origin, n, taps, start, rows)
    np.testing.assert_array_equal(rows, expected)
    turned = np.ascontiguousarray(image.transpose(0, 2, 1)).reshape(-1, n)
    columns = np.empty((outer * inner, stop - start), np.float32)
    smooth_columns(freeze(turned[:, origin:end]), origin, n, taps, start, columns)
    np.testing.assert_array_equal(columns.reshape(outer, inner, -1).transpose(0, 2, 1), expected)


def test_rows_longer_than_a_piece() -> None:
    image = np.random.default_rng(1).random((1, 9, 2 * PIECE + 5), np.float32)
    expected, got = (np.empty(image.shape, np.float32) for _ in range(2))
    taps = _taps(1.0, 2)
    smooth_rows(freeze(image), 0, 9, taps, 0, got)
    for x in range(image.shape[2]):
        column = np.empty((1, 9, 1), np.float32)
        smooth_rows(freeze(image[:, :, x : x + 1]), 0, 9, taps, 0, column)
        expected[:, :, x : x + 1] = column
    np.testing.assert_array_equal(got, expected)


def test_a_constant_stays() -> None:
    image = np.full((2, 8, 8), 0.25, np.float32)
    out = np.empty_like(image)
    smooth_rows(freeze(image), 0, 8, _taps(1.0, 2), 0, out)
    np.testing.assert_allclose(out, 0.25, rtol=1e-6)
