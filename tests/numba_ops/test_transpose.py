"""Squares transposed in registers, against NumPy."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from numba_ops.transpose import SIDE, transpose


@numba.njit
def _turn(square: Any, out: Any) -> None:
    transpose(square, 2, SIDE + 3, out, 1, SIDE + 5)


def test_transpose() -> None:
    square = np.random.default_rng(0).normal(size=(SIDE, SIDE + 3)).astype(np.float32)
    out = np.zeros((SIDE, SIDE + 5), np.float32)
    _turn(square.ravel(), out.ravel())
    assert np.array_equal(out[:, 1 : SIDE + 1], square[:, 2 : SIDE + 2].T)
    out[:, 1 : SIDE + 1] = 0
    assert not out.any()
