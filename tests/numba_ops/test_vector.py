"""Vector operations, each against a plain loop."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from numba_ops.vector import copy4, copy8, fma


@numba.njit
def _copy(src: Any, base: Any, out: Any, at: Any) -> None:
    copy4(src, base, out, at)
    copy8(src, base, out, at + 4)


@numba.njit
def _fma(a: Any, x: Any, y: Any) -> Any:
    return fma(a, x, y)


def test_copies() -> None:
    out = np.zeros(20, np.float32)
    _copy(np.arange(20, dtype=np.float32), 5, out, 3)
    assert out.tolist() == [0] * 3 + [5, 6, 7, 8] + [5, 6, 7, 8, 9, 10, 11, 12] + [0] * 5


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_fma_rounds_once(kind: Any) -> None:
    one = 1 + np.finfo(kind).eps
    assert _fma(kind(one), kind(one), kind(-(one * one))) == float(np.finfo(kind).eps) ** 2
