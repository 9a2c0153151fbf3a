"""Passes along one axis, against a plain loop with one rounding per step, and against SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from numba_ops.arena import allocate
from numba_ops.gaussian import (
    convolve_rows,
    differentiate,
    fill_offsets,
    fill_ring,
    mirror,
    smooth_across,
    smooth_along,
)
from numba_ops.taps import lay_out, taps
from numba_ops.tile import ALIGN, GROUP, TURNED
from tests.oracles import load_golden_module

Float = NDArray[np.float32]
SPECIAL = [0.0, -0.0, 1e-42, 1e30, 3.4e38, np.inf, -np.inf, np.nan]


def _make_image(rows: int, width: int, seed: int, special: int = 0) -> Float:
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 100, (rows, width)).astype(np.float32)
    for value in rng.choice(SPECIAL, special):
        image[rng.integers(rows), rng.integers(width)] = value
    return image


def _flatten(image: Float) -> Float:
    flat = allocate(image.size)
    flat[: image.size] = image.ravel()
    return flat


def _convolve_plainly(parts: list[Float], k: Float, odd: bool) -> Float:
    """`parts` are the neighbours at -R ... R."""
    fma32, reach = load_golden_module("ref").fma32, len(k) - 1
    with np.errstate(all="ignore"):
        total = k[0] * parts[reach]
        for j in range(1, reach + 1):
            right, left = parts[reach + j], parts[reach - j]
            total = fma32(k[j], right - left if odd else right + left, total)
    return np.asarray(total, np.float32)


def _offsets(reach: int, stride: int) -> NDArray[np.int64]:
    offsets = np.empty(2 * reach + 1, np.int64)
    fill_offsets(offsets, reach, stride)
    return offsets


@given(st.integers(1, 40), st.integers(-200, 200))
def test_mirror_reflects_without_repeating_the_edge(n: int, i: int) -> None:
    assert mirror(i, n) == np.pad(np.arange(n), 200, mode="reflect")[i + 200]


def test_fill_ring() -> None:
    offsets = np.empty(5, np.int64)
    fill_ring(offsets, 7, 5, 10, 4, 100)
    assert offsets.tolist() == [300, 0, 100, 0, 300]  # planes 7, 8, 9 and, reflected, 8, 7


@given(st.integers(1, 3), st.sampled_from([16, 48, 64, 80, 144]), st.integers(0, 20), st.booleans(), st.integers(0, 9))
def test_convolve_rows(rows: int, n: int, reach: int, odd: bool, special: int) -> None:
    image = _make_image(rows, n + 2 * reach, reach + n, special)
    k = np.random.default_rng(reach).normal(size=reach + 1).astype(np.float32)
    out = allocate(rows * n)
    args: tuple[Any, ...] = (_offsets(reach, 1), 0, np.r_[np.float32(9), k], 1, reach, odd)
    convolve_rows(_flatten(image), reach, image.shape[1], *args, out, 0, n, rows, n)
    parts = [image[:, j : j + n] for j in range(2 * reach + 1)]
    want = _convolve_plainly(parts, k, odd)
    assert np.array_equal(out[: rows * n].reshape(rows, n), want, equal_nan=True)


@given(st.integers(1, 3 * GROUP), st.sampled_from([16, 32, 48, 112]), st.integers(0, 20), st.integers(0, 9))
def test_smooth_across(rows: int, n: int, reach: int, special: int) -> None:
    image = _make_image(rows + 2 * reach, n, reach + n, special)
    k = np.random.default_rng(reach).normal(size=reach + 1).astype(np.float32)
    out = allocate(rows * n)
    offsets = np.arange(rows + 2 * reach, dtype=np.int64) * n
    smooth_across(_flatten(image), 0, offsets, k, reach, out, 0, n, rows, n)
    want = _convolve_plainly([image[j : j + rows] for j in range(2 * reach + 1)], k, False)
    assert np.array_equal(out[: rows * n].reshape(rows, n), want, equal_nan=True)


@given(
    st.sampled_from([1, 16, 31, 32, 40, 50, 64, 81, 134]),
    st.sampled_from([16, 48, 112]),
    st.integers(0, 20),
    st.integers(0, 9),
)
def test_smooth_along(rows: int, n: int, reach: int, special: int) -> None:
    """As across, for rows that are transposed and for those that are left over, beside memory that must stay."""
    image = _make_image(rows, n + 2 * reach + 8, reach + n, special)
    k = np.random.default_rng(reach).normal(size=reach + 1).astype(np.float32)
    end = rows * n
    size = (n + 2 * reach + 2 * ALIGN) * TURNED
    out = allocate(end + 2 * ALIGN + size)
    out[:] = 7
    offsets = np.zeros(2 * reach + 1 + GROUP, np.int64)
    smooth_along(_flatten(image), reach, image.shape[1], offsets, k, reach, out, 0, n, rows, n, out, end + ALIGN)
    want = _convolve_plainly([image[:, j : j + n] for j in range(2 * reach + 1)], k, False)
    assert np.array_equal(out[:end].reshape(rows, n), want, equal_nan=True)
    assert (out[end : end + ALIGN] == 7).all()
    assert (out[end + ALIGN + size : end + 2 * ALIGN + size] == 7).all()


@given(
    st.integers(1, 3),
    st.sampled_from([16, 64, 80, 144]),
    st.sampled_from([0.1, 0.2, 0.3, 0.7, 0.8, 1.0]),
    st.integers(1, 7),
    st.integers(0, 9),
)
def test_differentiate(rows: int, n: int, sigma: float, orders: int, special: int) -> None:
    parts = [taps(sigma, order, 2.0) for order in range(3)]
    k = lay_out(parts)
    reach = k.widest
    image = _make_image(rows, n + 2 * reach, orders + n, special)
    out = allocate(3 * rows * n)
    src, apart = _flatten(image), rows * n
    differentiate(src, reach, image.shape[1], _offsets(reach, 1), k, orders, out, 0, apart, n, rows, n)
    for order in range(3):
        if orders >> order & 1:
            r = len(parts[order]) - 1
            near = [image[:, reach + j : reach + j + n] for j in range(-r, r + 1)]
            got = out[order * apart : (order + 1) * apart].reshape(rows, n)
            assert np.array_equal(got, _convolve_plainly(near, parts[order], order == 1), equal_nan=True)


@pytest.mark.parametrize("sigma", [0.7, 1.0, 3.354, 9.95])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_agrees_with_scipy(sigma: float, order: int) -> None:
    k = taps(sigma, order, 3.5)
    reach = len(k) - 1
    image = _make_image(1, 128, order)
    padded = np.pad(image, ((0, 0), (reach, reach)), mode="reflect")
    out = allocate(128)
    convolve_rows(_flatten(padded), reach, 0, _offsets(reach, 1), 0, k, 0, reach, order == 1, out, 0, 0, 1, 128)
    weights = np.r_[-k[:0:-1] if order == 1 else k[:0:-1], k].astype(float)
    want = scipy.ndimage.correlate1d(image[0].astype(float), weights, mode="mirror")
    assert np.abs(out[:128] - want).max() <= 1e-5 * np.abs(image).max()
