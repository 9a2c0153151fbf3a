"""Eigenvalues of fields of symmetric tensors, in the closed forms that ilastik's forests were trained on.

The last bit decides at the thresholds of a forest: everything is float32, evaluated left to right, no fused
multiply-add, and trigonometry is done in double and rounded once (all-float32 polynomials change probabilities). The
error of the closed form (up to 4e-4 of the largest eigenvalue) is part of the definition. Source: SEMANTICS section 4.

The 3-D form goes in three steps through scratch in the first-level cache. In one loop the chain of operations from a
tensor to its eigenvalues is so long that a processor finishes one vector before it can start the next: 4.9 ns a voxel,
in three 3.5. Entries and results are rows of their own: with one array and offsets, the test for negative indices keeps
LLVM from vectorising.
"""

# mypy: allow-untyped-defs
# Jitted functions carry no annotations: numba infers the types, and their docstrings tell them.

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from numba_ops._jit import jit
from numba_ops.vector import fma

THIRD = np.float32(1.0 / 3.0)
ROOT3 = np.float32(math.sqrt(3.0))
HALF = np.float32(0.5)
TWO = np.float32(2.0)
ZERO = np.float32(0.0)
ONE = np.float32(1.0)
NAN = np.float32(np.nan)
TAN8 = math.tan(math.pi / 8)


def _polynomial(function: Callable[[Any], Any], upper: float, degree: int) -> Any:
    """Compile a polynomial in u on [0, upper] that follows ``function(sqrt(u))``."""
    nodes = Chebyshev.interpolate(lambda u: function(np.sqrt(np.maximum(u, 1e-300))), degree, domain=[0.0, upper])
    coefficients = nodes.convert(kind=Polynomial).coef
    lines = ["def polynomial(u):", f"    p = {float(coefficients[-1])!r}"]
    lines += [f"    p = fma(p, u, {float(c)!r})" for c in coefficients[-2::-1]] + ["    return p"]
    scope: dict[str, Any] = {"fma": fma}
    exec("\n".join(lines), scope)  # a constant loop over an array would not be unrolled
    return numba.njit(inline="always")(scope["polynomial"])


# Arguments: at most tan(pi / 8) after reduction, and a third of an angle in [0, pi], whose square stays below 1.1. Of
# 20 million random arguments each, none rounded to another float32 than libm's double with degrees 9, 6 and 6; some did
# with 8 (2 of them), 5 (348) and 5 (38). One degree more where it costs nothing.
_atan_over_r = _polynomial(lambda r: np.arctan(r) / r, 0.1716, 10)
_cos = _polynomial(np.cos, 1.1, 7)
_sin_over_a = _polynomial(lambda a: np.sin(a) / a, 1.1, 6)


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
    """Eigenvalues of 3x3 tensors; a zero tensor gives 0, one that is not finite NaN.

    Parameters
    ----------
    zz, zy, zx, yy, yx, xx : ndarray, (n,), float32
        Entries of the tensors. Their order matters for the last bits: z is index 0 of the closed form.
    first, second, third : ndarray, (n,), float32
        Output: eigenvalues, descending.
    """
    n = zz.size
    scratch = np.empty(6 * n, np.float32)
    scale, mean, root = scratch[:n], scratch[n : 2 * n], scratch[2 * n : 3 * n]
    across, up, angle = scratch[3 * n : 4 * n], scratch[4 * n : 5 * n], scratch[5 * n :]
    _find_invariants(zz, zy, zx, yy, yx, xx, scale, mean, root, across, up)
    _find_angles(across, up, angle)
    _place_eigenvalues(scale, mean, root, angle, first, second, third)


@jit
def _find_invariants(zz, zy, zx, yy, yx, xx, scale, mean, root, across, up):
    """What the eigenvalues follow from: `mean` and `root` in units of `scale`, and the tangent ``up / across``."""
    for i in range(zz.size):
        a00, a01, a02, a11, a12, a22 = zz[i], zy[i], zx[i], yy[i], yx[i], xx[i]
        largest = max(max(max(abs(a00), abs(a01)), max(abs(a02), abs(a11))), max(abs(a12), abs(a22)))
        safe = largest if largest > ZERO else ONE
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
        known = c0 + c1 + c2  # NaN if any entry is; comparisons would lose it
        scale[i] = largest if known == known else NAN
        mean[i] = d
        root[i] = np.sqrt(-p)
        across[i] = b
        up[i] = np.sqrt(-q)


@jit
def _find_angles(across, up, angle):
    """A third of ``atan2(up, across)``, rounded to float32 before and after taking the third; `up` is not negative."""
    for i in range(across.size):
        x, y = np.float64(across[i]), np.float64(up[i])
        low, high = min(y, abs(x)), max(y, abs(x))
        turned = low > TAN8 * high  # then the angle minus 45 degrees has the smaller tangent
        over = low - high if turned else low
        under = low + high if turned else high
        r = over / (under if under > 0 else 1.0)
        a = r * _atan_over_r(r * r)
        a = a + math.pi / 4 if turned else a
        a = a if abs(x) >= y else math.pi / 2 - a
        a = a if x >= 0 else math.pi - a
        angle[i] = np.float32(a) * THIRD


@jit
def _place_eigenvalues(scale, mean, root, angle, first, second, third):
    for i in range(scale.size):
        a = np.float64(angle[i])
        cosine = np.float32(_cos(a * a))
        sine = np.float32(a * _sin_over_a(a * a))
        d, g = mean[i], root[i]
        v0 = d + TWO * g * cosine
        v1 = d - g * (cosine + ROOT3 * sine)
        v2 = d - g * (cosine - ROOT3 * sine)
        high01, low01 = max(v0, v1), min(v0, v1)
        middle = min(high01, v2)
        first[i] = max(high01, v2) * scale[i]
        second[i] = max(low01, middle) * scale[i]
        third[i] = min(low01, middle) * scale[i]
