"""Vector operations, each against a plain loop."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numba_ops.vector import BRICK, add_masked, below_mask, brick_range, copy4, copy8, fma

VALUES = st.lists(st.floats(width=32), min_size=BRICK, max_size=BRICK)


@numba.njit
def _below(array: Any, at: Any, threshold: Any) -> Any:
    return below_mask(array, np.uint64(at), threshold)


@numba.njit
def _range(array: Any, at: Any, low: Any, high: Any, column: Any) -> Any:
    return brick_range(array, np.uint64(at), low, high, column)


@numba.njit
def _add(array: Any, at: Any, mask: Any, value: Any) -> None:
    add_masked(array, np.uint64(at), mask, value)


@numba.njit
def _copy(src: Any, base: Any, out: Any, at: Any) -> None:
    copy4(src, base, out, at)
    copy8(src, base, out, at + 4)


@numba.njit
def _fma(a: Any, x: Any, y: Any) -> Any:
    return fma(a, x, y)


def _bits(flags: Any) -> int:
    return sum(1 << k for k, flag in enumerate(flags) if flag)


@given(VALUES, st.floats(width=32), st.integers(0, 5))
def test_below_mask(values: list[float], threshold: float, at: int) -> None:
    array = np.array([0.0] * at + values, np.float32)
    assert _below(array, at, np.float32(threshold)) == _bits(v < threshold for v in values)


@given(VALUES)
def test_brick_range(values: list[float]) -> None:
    array = np.array([0.0, *values], np.float32)
    low, high = np.zeros(3, np.float32), np.zeros(3, np.float32)
    assert _range(array, 1, low, high, 2) == _bits(v != v for v in values)
    if not np.isnan(values).any():
        assert (low[2], high[2]) == (min(values), max(values))
    assert low[:2].tolist() == high[:2].tolist() == [0, 0]


@given(st.integers(0, 2**64 - 1))
def test_add_masked(mask: int) -> None:
    array = np.arange(70, dtype=np.float32)
    _add(array, 3, np.uint64(mask), np.float32(0.25))
    want = np.arange(70, dtype=np.float32)
    want[3:67] += [0.25 if mask >> k & 1 else 0.0 for k in range(BRICK)]
    assert np.array_equal(array, want)


def test_copies() -> None:
    out = np.zeros(20, np.float32)
    _copy(np.arange(20, dtype=np.float32), 5, out, 3)
    assert out.tolist() == [0] * 3 + [5, 6, 7, 8] + [5, 6, 7, 8, 9, 10, 11, 12] + [0] * 5


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_fma_rounds_once(kind: Any) -> None:
    one = 1 + np.finfo(kind).eps
    assert _fma(kind(one), kind(one), kind(-(one * one))) == float(np.finfo(kind).eps) ** 2
