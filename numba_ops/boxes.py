"""Loops over small boxes around each voxel or at given places, and over planes; sums are integers, therefore exact.

Blocks are (z, y, x) of unsigned integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_ops._jit import jit

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
PLANE_SUMS = 8


@jit
def scale_to_bytes(values: Any, largest: Any, out: Any) -> None:
    """Integers on the scale 0..255, truncated: ``255 * (v / largest)`` in double precision.

    Parameters
    ----------
    values : ndarray, (n,), unsigned
    largest : float
        Of their type.
    out : ndarray, (n,), uint8
    """
    for i in range(values.size):
        out[i] = np.uint8(255.0 * (np.float64(values[i]) / largest))


@jit
def sum_planes(values: Any, sums: Any) -> None:
    """Sums over each plane of values of up to 16 bits and of their squares, for planes of less than 2^32 voxels.

    Parameters
    ----------
    values : ndarray, (z, y, x), uint8 or uint16
    sums : ndarray, (z, `PLANE_SUMS`), uint64
        Added to, in the places that `sum_wide_planes` has for them.
    """
    for z in range(values.shape[0]):
        for y in range(values.shape[1]):
            total, squares = np.uint64(0), np.uint64(0)
            for x in range(values.shape[2]):
                v = np.uint64(values[z, y, x])
                total += v
                squares += v * v
            sums[z, 0] += total
            sums[z, 2] += squares


@jit
def _add_carrying(sums: Any, at: Any, number: Any) -> None:
    """Add to a number of 128 bits, its lower half first."""
    before = sums[at]
    sums[at] = before + number
    if sums[at] < before:
        sums[at + 1] += np.uint64(1)


@jit
def sum_wide_planes(values: Any, sums: Any) -> None:
    """Sums over each plane of values of 32 or 64 bits: of their lower and upper halves, and of products of these.

    Parameters
    ----------
    values : ndarray, (z, y, x), unsigned
    sums : ndarray, (z, `PLANE_SUMS`), uint64
        Added to: low, high, low * low, low * high, high * high, the last three of 128 bits, lower half first.
    """
    for z in range(values.shape[0]):
        here = sums[z]
        for y in range(values.shape[1]):
            for x in range(values.shape[2]):
                low, high = np.uint64(values[z, y, x]) & LOW, np.uint64(values[z, y, x]) >> HALF
                here[0] += low
                here[1] += high
                _add_carrying(here, 2, low * low)
                if high:
                    _add_carrying(here, 4, low * high)
                    _add_carrying(here, 6, high * high)


@jit
def box_covariances(a: Any, b: Any, out: Any) -> None:
    """``27 * sum(ab) - sum(a) * sum(b)`` over the box of 3 x 3 x 3 voxels around each voxel.

    Parameters
    ----------
    a, b : ndarray, (z + 2, y + 2, x + 2), uint8
    out : ndarray, (z, y, x), int32
        Below 2^26 in size.
    """
    depth, height, width = out.shape
    column = np.empty((3, width + 2), np.int32)  # sums over z and y at each x: of a, b and ab
    for z in range(depth):
        for y in range(height):
            for x in range(width + 2):
                sum_a, sum_b, sum_ab = np.int32(0), np.int32(0), np.int32(0)
                for k in range(3):
                    for j in range(3):
                        va, vb = np.int32(a[z + k, y + j, x]), np.int32(b[z + k, y + j, x])
                        sum_a += va
                        sum_b += vb
                        sum_ab += va * vb
                column[0, x] = sum_a
                column[1, x] = sum_b
                column[2, x] = sum_ab
            for x in range(width):
                total_a = column[0, x] + column[0, x + 1] + column[0, x + 2]
                total_b = column[1, x] + column[1, x + 1] + column[1, x + 2]
                total_ab = column[2, x] + column[2, x + 1] + column[2, x + 2]
                out[z, y, x] = 27 * total_ab - total_a * total_b


@jit
def count_bins(values: Any, low: Any, span: Any, counts: Any) -> None:
    """Add a histogram of equal bins over ``low .. low + span``, both ends in it, by whole numbers alone.

    Parameters
    ----------
    values : ndarray, (n,), int32
    low, span : int
    counts : ndarray, (bins,), int64
    """
    bins = counts.size
    for i in range(values.size):
        at = (np.int64(values[i]) - low) * bins // span
        counts[min(at, bins - 1)] += 1


@jit
def sum_boxes(values: Any, corners: Any, height: Any, width: Any, sums: Any) -> None:
    """Sums over the planes of boxes, of the lower and the upper 32 bits of the values.

    Parameters
    ----------
    values : ndarray, (z, y, x), unsigned
    corners : ndarray, (n, 3), int64
        First voxel of each box, which lies inside.
    height, width : int
        Of a box.
    sums : ndarray, (n, planes, 2), uint64
        Filled.
    """
    for i in range(len(corners)):
        z0, y0, x0 = corners[i]
        for k in range(sums.shape[1]):
            low, high = np.uint64(0), np.uint64(0)
            for y in range(y0, y0 + height):
                for x in range(x0, x0 + width):
                    value = np.uint64(values[z0 + k, y, x])
                    low += value & LOW
                    high += value >> HALF
            sums[i, k, 0] = low
            sums[i, k, 1] = high


@jit
def cut_boxes(values: Any, corners: Any, boxes: Any) -> None:
    """Copy boxes out of a block.

    Parameters
    ----------
    values : ndarray, (z, y, x), uint8
    corners : ndarray, (n, 3), int64
        First voxel of each box, which lies inside.
    boxes : ndarray, (n, depth, height, width), uint8
        Filled.
    """
    _, depth, height, width = boxes.shape
    for i in range(len(corners)):
        z0, y0, x0 = corners[i]
        for z in range(depth):
            for y in range(height):
                for x in range(width):
                    boxes[i, z, y, x] = values[z0 + z, y0 + y, x0 + x]


@jit
def wrap_scores(values: Any, means: Any, deviations: Any, out: Any) -> None:
    """z-scores of each plane put back into the type of the values: truncated towards 0, negative ones wrapped.

    Parameters
    ----------
    values : ndarray, (z, y, x), unsigned
    means, deviations : ndarray, (z,), float64
        Of each plane; a deviation of 0 gives 0.
    out : ndarray, (z, y, x)
        Of the type of the values.
    """
    for z in range(values.shape[0]):
        mean, deviation = means[z], deviations[z]
        for y in range(values.shape[1]):
            for x in range(values.shape[2]):
                score = np.int64(0)
                if deviation > 0:
                    score = np.int64((np.float64(values[z, y, x]) - mean) / deviation)
                out[z, y, x] = score


@jit
def original_map(a: Any, b: Any, means: Any, deviations: Any, out: Any) -> None:
    """Box mean of the sum of two z-scored channels, less that of the first, plus that of the second.

    Additions are made in the order in which SciPy's `ndimage.convolve` makes them, so that the bits are the same.

    Parameters
    ----------
    a, b : ndarray, (z + 2, y + 2, x + 2), uint8
    means, deviations : ndarray, (2,), float64
        Of both channels.
    out : ndarray, (z, y, x), float64
    """
    scores = np.empty((2, 256))
    for k in range(2):
        for v in range(256):
            scores[k, v] = (v - means[k]) / deviations[k]
    share = 1.0 / 27.0
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                first, second, both = 0.0, 0.0, 0.0
                for k in range(3):
                    for j in range(3):
                        for i in range(3):
                            at_a = scores[0, a[z + k, y + j, x + i]]
                            at_b = scores[1, b[z + k, y + j, x + i]]
                            first += share * at_a
                            second += share * at_b
                            both += share * (at_a + at_b)
                out[z, y, x] = both - first + second


@jit
def count_between(values: Any, edges: Any, counts: Any) -> None:
    """Add a histogram of equal bins that are given by their edges, the last one closed, as NumPy counts.

    Parameters
    ----------
    values : ndarray, (n,), float64
        Between the first edge and the last.
    edges : ndarray, (bins + 1,), float64
    counts : ndarray, (bins,), int64
    """
    bins = counts.size
    low, scale = edges[0], bins / (edges[bins] - edges[0])
    for i in range(values.size):
        at = min(np.int64((values[i] - low) * scale), bins - 1)
        if values[i] < edges[at]:
            at -= 1
        elif values[i] >= edges[at + 1] and at != bins - 1:
            at += 1
        counts[at] += 1
