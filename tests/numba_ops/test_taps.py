"""Taps of Gaussian derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numba_ops.taps import WINDOW_FILTER, WINDOW_PRESMOOTH, lay_out, presmooth_sigma, radius, taps
from tests.oracles import load_golden_module

SIGMAS = st.floats(0.05, 40)
WINDOWS = st.sampled_from([WINDOW_FILTER, WINDOW_PRESMOOTH])


@given(SIGMAS, st.integers(0, 2), WINDOWS)
def test_taps_equal_the_reference(sigma: float, order: int, window: float) -> None:
    with np.errstate(invalid="ignore"):
        want = load_golden_module("ref").kernel(sigma, order, window)
    got = taps(sigma, order, window)
    assert got.dtype == np.float32
    assert len(got) == radius(sigma, window, order) + 1
    assert np.array_equal(got, want, equal_nan=True)


@given(st.floats(0.2, 40), WINDOWS)
def test_norms(sigma: float, window: float) -> None:
    smooth, first, second = (taps(sigma, order, window).astype(float) for order in range(3))
    x = np.arange(len(smooth))
    assert smooth[0] + 2 * smooth[1:].sum() == pytest.approx(1, abs=1e-6)
    x = np.arange(len(first))
    assert 2 * (x * first).sum() == pytest.approx(1, abs=1e-6)
    assert (x**2 * second).sum() == pytest.approx(1, abs=1e-5)
    assert first[0] == 0


def test_radii_of_the_usual_scales() -> None:
    sigmas = [presmooth_sigma(scale) for scale in (0.3, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0)]
    assert [radius(sigma, WINDOW_PRESMOOTH) for sigma in sigmas] == [1, 2, 4, 4, 12, 17, 35]
    assert presmooth_sigma(1.6) == math.sqrt(1.6**2 - 1)


def test_small_smoothing_is_the_identity_but_no_derivative_is() -> None:
    assert np.array_equal(taps(0.1, 0, WINDOW_FILTER), np.ones(1, np.float32))
    assert len(taps(0.1, 1, WINDOW_FILTER)) == 2


def test_order_is_checked() -> None:
    with pytest.raises(ValueError, match="order 3"):
        taps(1.0, 3, WINDOW_FILTER)


def test_lay_out() -> None:
    parts = [np.arange(n, dtype=np.float32) for n in (3, 3, 3)]
    joined = lay_out(parts)
    assert joined.common == joined.widest == 2
    assert joined.taps.tolist() == [0, 1, 2] * 3
    assert joined.at.tolist() == [0, 3, 6]
    uneven = lay_out([np.ones(1, np.float32), np.ones(2, np.float32)])
    assert (uneven.common, uneven.widest, uneven.reach.tolist()) == (0, 1, [0, 1, 1])
