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
    reach = len(taps)
    at = np.empty(reach, np.int64)
    flat = src.reshape(-1)
    result = out.reshape(-1)
    sums = np.empty(PIECE)
    inner = out.shape[2]
    for o in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(reach):
                row = mirror(start + i + j - reach // 2, length) - origin
                at[j] = (o * src.shape[1] + row) * inner
            to = (o * out.shape[1] + i) * inner
            for first in range(0, inner, PIECE):
                n = min(PIECE, inner - first)
                _sum_taps(flat, at, first, taps, sums, n)
                piece = result[to + first : to + first + n]
                for x in range(n):
                    piece[x] = np.float32(sums[x])


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
    reach = len(taps)
    n = out.shape[1]
    at = np.arange(reach)
    padded = np.empty(n + reach - 1, np.float32)
    begin = start - reach // 2
    low, high = max(-begin, 0), min(length - begin, n + reach - 1)  # the part that is not mirrored
    sums = np.empty(n)
    for y in range(out.shape[0]):
        padded[low:high] = src[y, begin + low - origin : begin + high - origin]
        for x in range(low):
            padded[x] = src[y, mirror(begin + x, length) - origin]
        for x in range(high, n + reach - 1):
            padded[x] = src[y, mirror(begin + x, length) - origin]
        _sum_taps(padded, at, 0, taps, sums, n)
        row = out[y]
        for x in range(n):
            row[x] = np.float32(sums[x])


@jit
def _sum_taps(src, at, first, taps, sums, n):
    """``sums[x] = taps[0] * src[at[0] + first + x] + taps[1] * ...``, from left to right; four taps in one go.

    Rows are taken as slices, since an index that could be negative keeps the compiler from using vectors.
    """
    sums[:n] = 0.0
    j = 0
    while j + 4 <= len(taps):
        k0, k1, k2, k3 = taps[j], taps[j + 1], taps[j + 2], taps[j + 3]
        s0 = src[at[j] + first : at[j] + first + n]
        s1 = src[at[j + 1] + first : at[j + 1] + first + n]
        s2 = src[at[j + 2] + first : at[j + 2] + first + n]
        s3 = src[at[j + 3] + first : at[j + 3] + first + n]
        for x in range(n):
            sums[x] = sums[x] + k0 * s0[x] + k1 * s1[x] + k2 * s2[x] + k3 * s3[x]
        j += 4
    while j < len(taps):
        k0 = taps[j]
        s0 = src[at[j] + first : at[j] + first + n]
        for x in range(n):
            sums[x] += k0 * s0[x]
        j += 1
