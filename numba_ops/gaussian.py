"""Convolution of rows with symmetric or antisymmetric taps, and the border rule.

A row may be several rows of an image laid end to end: the y and z passes of a whole plane are one call.
"""

from __future__ import annotations

from numba_ops._jit import jit
from numba_ops.vector import even1, even16, even64, odd1, odd16, odd64


@jit
def mirror(i, n):
    """Index `i` of an axis of length `n`, reflected at its ends without repeating them (-1 -> 1, n -> n - 2)."""
    if n == 1:
        return 0
    period = 2 * (n - 1)
    i = i % period
    return i if i < n else period - i


@jit
def convolve_row(src, base, offsets, first, taps, k0, reach, odd, out, at, n):
    """Write `n` convolved values to ``out[at:]``, all in float32, accumulated from the centre outwards by fma.

    Value x is ``k[0] * src[base + off[0] + x] + sum_j k[j] * (src[base + off[j] + x] ± src[base + off[-j] + x])`` with
    ``k = taps[k0:]`` and ``off[j] = offsets[first + reach + j]``; minus where `odd`. Source and output must not overlap:
    the last vector of a row starts early and computes some values twice.
    """
    x = 0
    if odd:
        while x + 64 <= n:
            odd64(src, base + x, offsets, first, taps, k0, reach, out, at + x)
            x += 64
        while x < n and n >= 16:
            x = min(x, n - 16)
            odd16(src, base + x, offsets, first, taps, k0, reach, out, at + x)
            x += 16
        while x < n:
            odd1(src, base + x, offsets, first, taps, k0, reach, out, at + x)
            x += 1
    else:
        while x + 64 <= n:
            even64(src, base + x, offsets, first, taps, k0, reach, out, at + x)
            x += 64
        while x < n and n >= 16:
            x = min(x, n - 16)
            even16(src, base + x, offsets, first, taps, k0, reach, out, at + x)
            x += 16
        while x < n:
            even1(src, base + x, offsets, first, taps, k0, reach, out, at + x)
            x += 1


@jit
def fill_offsets(offsets, reach, stride):
    """Offsets ``-reach * stride .. reach * stride`` of the taps along an axis with this stride."""
    for j in range(2 * reach + 1):
        offsets[j] = (j - reach) * stride


@jit
def fill_ring_offsets(offsets, reach, plane, depth, ring, plane_size):
    """Offsets of planes ``plane - reach .. plane + reach`` of a volume `depth` planes deep, in a ring of `ring` planes."""
    for j in range(2 * reach + 1):
        offsets[j] = (mirror(plane + j - reach, depth) % ring) * plane_size
