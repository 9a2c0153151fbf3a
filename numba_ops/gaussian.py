"""Convolution of rows with symmetric or antisymmetric taps, and the border rule.

Rows are whole vectors of 16 (`numba_ops.tile` keeps buffers so): nothing is ever computed one value at a time.
Sources and outputs must not overlap.
"""

# mypy: allow-untyped-defs
# Jitted functions carry no annotations: numba infers the types, and their docstrings tell them.

from __future__ import annotations

from numba_ops._jit import jit
from numba_ops.tap_vectors import (
    LANES,
    derive_row,
    even16,
    even64,
    odd16,
    odd64,
    smooth_group,
    smooth_group8,
)
from numba_ops.tile import GROUP
from numba_ops.transpose import SIDE, transpose
from numba_ops.vector import keep_apart

TURNED_REACH = 6  # from here on rows are transposed; narrower taps are as fast along rows as they lie


@jit
def mirror(i, n):
    """Index `i` of an axis of length `n`, reflected at its ends without repeating them (-1 -> 1, n -> n - 2)."""
    if n == 1:
        return 0
    period = 2 * (n - 1)
    i = i % period
    return i if i < n else period - i


@jit
def fill_offsets(offsets, reach, stride):
    """Offsets ``-reach * stride ... reach * stride`` of the taps along an axis with this stride."""
    for j in range(2 * reach + 1):
        offsets[j] = (j - reach) * stride


@jit
def fill_ring(offsets, first, count, depth, ring, size):
    """Offsets of `count` planes from image plane `first` on, in a ring of `ring` planes of an image `depth` deep."""
    for j in range(count):
        offsets[j] = (mirror(first + j, depth) % ring) * size


@jit
def convolve_rows(src, base, pitch, offsets, first, taps, k0, reach, odd, out, at, out_pitch, rows, n):
    """Convolve rows of `n` values, a multiple of 16, with taps of any radius.

    Value x of a row is ``k[0] * a[0] + sum_j k[j] * (a[j] ± a[-j])``, minus where `odd`, with ``k = taps[k0:]`` and
    ``a[j] = src[base + offsets[first + reach + j] + x]``. Rows are `pitch` apart in the source and `out_pitch` in the
    output.
    """
    keep_apart()
    for _ in range(rows):
        x = 0
        while x + 64 <= n:
            if odd:
                odd64(src, base + x, offsets, first, taps, k0, reach, out, at + x)
            else:
                even64(src, base + x, offsets, first, taps, k0, reach, out, at + x)
            x += 64
        while x < n:
            if odd:
                odd16(src, base + x, offsets, first, taps, k0, reach, out, at + x)
            else:
                even16(src, base + x, offsets, first, taps, k0, reach, out, at + x)
            x += 16
        base += pitch
        at += out_pitch


@jit
def smooth_across(src, base, offsets, taps, reach, out, at, out_pitch, rows, n):
    """Convolve with even taps of any radius across rows of `n` values, a multiple of 16.

    Row i of the output is centred on ``src[base + offsets[reach + i]:]``: `offsets` names ``rows + 2 * reach`` rows.
    """
    keep_apart()
    i = 0
    while i + GROUP <= rows:
        x = 0
        while x + LANES <= n:
            smooth_group(src, base + x, offsets, i, taps, reach, out, at + x, out_pitch)
            x += LANES
        while x < n:
            smooth_group8(src, base + x, offsets, i, taps, reach, out, at + x, out_pitch)
            x += 8
        at += GROUP * out_pitch
        i += GROUP
    while i < rows:
        convolve_rows(src, base, 0, offsets, i, taps, 0, reach, False, out, at, 0, 1, n)
        at += out_pitch
        i += 1


@jit
def smooth_along(src, base, pitch, offsets, taps, reach, out, at, out_pitch, rows, n, scratch, place):
    """Convolve rows of `n` values, a multiple of 16, with even taps along them.

    As `convolve_rows`, but with wide taps `LANES` rows at a time are transposed into ``scratch[place:]``, room for
    ``(n + 2 * reach + 32) * TURNED`` values, so that the pass goes across rows: loads that begin anywhere in a line
    take two lines each, and loading set the pace. With 17 taps a side a value takes 0.64 instead of 1.14 ns.

    Parameters
    ----------
    offsets : ndarray, int64, (2 * reach + 1 + GROUP,)
        Scratch, too.
    """
    keep_apart()
    row = 0
    if reach >= TURNED_REACH and rows >= LANES:
        made = place + (n + 2 * reach + SIDE - 1) // SIDE * SIDE * LANES
        for i in range(2 * reach + GROUP):
            offsets[i] = i * LANES
        while rows - row > LANES // 2:
            row = min(row, rows - LANES)  # the last rows are made with some that have been made already
            for k in range(row, row + LANES, SIDE):
                for x in range(0, n + 2 * reach, SIDE):
                    transpose(src, base + k * pitch - reach + x, pitch, scratch, place + x * LANES + k - row, LANES)
            for x in range(0, n, SIDE):
                for i in range(0, SIDE, GROUP):
                    smooth_group(
                        scratch, place + (x + i) * LANES, offsets, 0, taps, reach, scratch, made + i * LANES, LANES
                    )
                for k in range(0, LANES, SIDE):
                    transpose(scratch, made + k, LANES, out, at + (row + k) * out_pitch + x, out_pitch)
            row += LANES
    fill_offsets(offsets, reach, 1)
    base, at = base + row * pitch, at + row * out_pitch
    convolve_rows(src, base, pitch, offsets, 0, taps, 0, reach, False, out, at, out_pitch, rows - row, n)


@jit
def differentiate(src, base, pitch, offsets, k, orders, out, at, apart, out_pitch, rows, n):
    """Derivatives of several orders along one axis, from the same loads.

    Parameters
    ----------
    src : ndarray, float32, flat
        Row i starts at ``base + i * pitch``; ``offsets[k.widest + j]`` leads to its j-th neighbours.
    k : Orders
    orders : int
        Bit o: order o is wanted.
    out : ndarray, float32, flat
        Row i of order o goes to ``at + o * apart + i * out_pitch``; the places of orders below the highest wanted one
        may be written, too.
    rows, n : int
        Rows, and values of a row: a multiple of 16.
    """
    keep_apart()
    if k.common == 0:
        for o in range(3):
            if (orders >> o) & 1:
                first = k.widest - k.reach[o]
                to = at + o * apart
                convolve_rows(
                    src, base, pitch, offsets, first, k.taps, k.at[o], k.reach[o], o == 1, out, to, out_pitch, rows, n
                )
        return
    for _ in range(rows):
        derive_row(src, base, offsets, k.taps, k.common, orders, out, at, apart, n)
        base += pitch
        at += out_pitch
