"""Smoothing of probabilities before a threshold: float64 taps and sums, each pass rounded to float32.

Not the filters of features: those have float32 sums in an order of their own. Here each value is the sum over taps
from left to right, so that its bits depend on its neighbourhood alone. Source: SEMANTICS section 7.
"""

# mypy: allow-untyped-defs
# Jitted functions carry no annotations: numba infers the types, and their docstrings tell them.

from __future__ import annotations

import numpy as np

from numba_ops._jit import jit
from numba_ops.gaussian import mirror

PIECE = 1024  # values that are summed side by side: their float64 sums stay in the first-level cache


@jit
def smooth_rows(src, origin, length, taps, start, out):
    """Smooth along the middle axis.

    Parameters
    ----------
    src : ndarray, float32, (outer, rows, inner), C order
        Rows from image row `origin` on; all that are needed, mirrored ones included, must be there.
    origin : int
    length : int
        Rows of the image; beyond its ends it is mirrored without repeating the last row.
    taps : ndarray, float64, (2 * radius + 1,)
    start : int
        Image row of the first row of `out`.
    out : ndarray, float32, (outer, rows, inner), C order
    """
    radius = len(taps) // 2
    sums = np.empty(PIECE)
    for o in range(out.shape[0]):
        for i in range(out.shape[1]):
            for first in range(0, out.shape[2], PIECE):
                n = min(PIECE, out.shape[2] - first)
                sums[:n] = 0.0
                for j in range(len(taps)):
                    row = mirror(start + i + j - radius, length) - origin
                    tap = taps[j]
                    for x in range(n):
                        sums[x] += tap * src[o, row, first + x]
                for x in range(n):
                    out[o, i, first + x] = np.float32(sums[x])


@jit
def smooth_columns(src, origin, length, taps, start, out):
    """Smooth along the last axis.

    Parameters
    ----------
    src : ndarray, float32, (rows, columns), C order
        As in `smooth_rows`, with columns for rows.
    origin, length, taps, start
    out : ndarray, float32, (rows, columns), C order
    """
    radius = len(taps) // 2
    n = out.shape[1]
    padded = np.empty(n + 2 * radius)
    sums = np.empty(n)
    for y in range(out.shape[0]):
        for x in range(n + 2 * radius):
            inside = start + x - radius
            if inside < 0 or inside >= length:
                inside = mirror(inside, length)
            padded[x] = src[y, inside - origin]
        sums[:] = 0.0
        for j in range(len(taps)):
            tap = taps[j]
            for x in range(n):
                sums[x] += tap * padded[x + j]
        for x in range(n):
            out[y, x] = np.float32(sums[x])
