"""Eigenvalues of fields of symmetric tensors, in the closed forms that ilastik's forests were trained on.

The last bit decides at the thresholds of a forest: everything is float32, evaluated left to right, no fused
multiply-add, and trigonometry is done in double and rounded once (all-float32 polynomials change probabilities). The
error of the closed form (up to 4e-4 of the largest eigenvalue) is part of the definition. Source: SEMANTICS section 4.

Each entry of the tensors, and each eigenvalue, is a row of its own: one array with offsets runs at 63 ns a voxel, since
the test for negative indices keeps LLVM from vectorising; separate rows run at 6.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from numba_ops._jit import jit

THIRD = np.float32(1.0 / 3.0)
ROOT3 = np.float32(math.sqrt(3.0))
HALF = np.float32(0.5)
TWO = np.float32(2.0)
ZERO = np.float32(0.0)
ONE = np.float32(1.0)


def _polynomial(function, upper, degree):
    """Compile a polynomial in u on [0, upper] that follows ``function(sqrt(u))`` to about double precision."""
    nodes = Chebyshev.interpolate(lambda u: function(np.sqrt(np.maximum(u, 1e-300))), degree, domain=[0.0, upper])
    coefficients = nodes.convert(kind=Polynomial).coef
    lines = ["def polynomial(u):", f"    p = {float(coefficients[-1])!r}"]
    lines += [f"    p = p * u + {float(c)!r}" for c in coefficients[-2::-1]] + ["    return p"]
    scope: dict = {}
    exec("\n".join(lines), scope)  # a constant loop over an array would not be unrolled
    return numba.njit(inline="always")(scope["polynomial"])


# The angle is a third of one in [0, pi], so its square stays below 1.1. Degrees: the smallest at which all of
# 20 million random tensors round to the same float32 as libm's doubles (tests/numba_ops/test_eigen.py has a sample).
_atan_over_r = _polynomial(lambda r: np.arctan(r) / r, 1.0, 15)
_cos = _polynomial(np.cos, 1.1, 7)
_sin_over_a = _polynomial(lambda a: np.sin(a) / a, 1.1, 7)


@jit
def eigenvalues_2d(yy, yx, xx, first, second):
    """Eigenvalues of 2x2 tensors.

    Parameters
    ----------
    yy, yx, xx : ndarray, (n,), float32
        Entries of the tensors.
    first, second : ndarray, (n,), float32
        Output: the larger and the smaller eigenvalue.
    """
    for i in range(yy.size):
        mean = (xx[i] + yy[i]) * HALF
        half = (xx[i] - yy[i]) * HALF
        root = np.sqrt(half * half + yx[i] * yx[i])
        first[i] = mean + root
        second[i] = mean - root


@jit
def eigenvalues_3d(zz, zy, zx, yy, yx, xx, first, second, third):
    """Eigenvalues of 3x3 tensors; a zero tensor gives 0.

    Parameters
    ----------
    zz, zy, zx, yy, yx, xx : ndarray, (n,), float32
        Entries of the tensors. Their order matters for the last bits: z is index 0 of the closed form.
    first, second, third : ndarray, (n,), float32
        Output: eigenvalues, descending.
    """
    for i in range(zz.size):
        a00, a01, a02, a11, a12, a22 = zz[i], zy[i], zx[i], yy[i], yx[i], xx[i]
        scale = max(max(max(abs(a00), abs(a01)), max(abs(a02), abs(a11))), max(abs(a12), abs(a22)))
        safe = scale if scale > ZERO else ONE
        a00 /= safe
        a01 /= safe
        a02 /= safe
        a11 /= safe
        a12 /= safe
        a22 /= safe
        c0 = a00 * a11 * a22 + TWO * a01 * a02 * a12 - a00 * a12 * a12 - a11 * a02 * a02 - a22 * a01 * a01
        c1 = a00 * a11 - a01 * a01 + a00 * a22 - a02 * a02 + a11 * a22 - a12 * a12
        c2 = a00 + a11 + a22
        d = c2 * THIRD
        p = min((c1 - c2 * d) * THIRD, ZERO)
        b = HALF * (c0 + d * (TWO * d * d - c1))
        q = min(b * b + p * p * p, ZERO)
        g = np.sqrt(-p)
        y = np.float64(np.sqrt(-q))
        x = np.float64(b)
        across = abs(x)
        high = max(y, across)
        r = min(y, across) / (high if high > 0 else 1.0)
        angle = r * _atan_over_r(r * r)
        angle = angle if across >= y else math.pi / 2 - angle
        angle = angle if x >= 0 else math.pi - angle
        w = np.float64(np.float32(angle) * THIRD)
        cosine = np.float32(_cos(w * w))
        sine = np.float32(w * _sin_over_a(w * w))
        v0 = d + TWO * g * cosine
        v1 = d - g * (cosine + ROOT3 * sine)
        v2 = d - g * (cosine - ROOT3 * sine)
        high01, low01 = max(v0, v1), min(v0, v1)
        middle = min(high01, v2)
        first[i] = max(high01, v2) * scale
        second[i] = max(low01, middle) * scale
        third[i] = min(low01, middle) * scale
