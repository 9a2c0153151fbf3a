"""Loops over labelled voxels: which labels a cell holds, and sizes, moments and sums of values of each of them.

A cell is a small box, (z, y, x). Labels become consecutive numbers first, so that everything else is an index into
small arrays; rows are walked in runs of one label, of which only the values need a look at each voxel. Positions are
summed as integers relative to the cell's first voxel; with edges of at most 512 no product of such sums overflows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_ops._jit import jit

FIRST_SLOTS = 1024  # of the table of labels; a power of two
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: neighbouring labels fall far apart


@jit
def _find_slot(slots: Any, ids: Any, label: Any) -> Any:
    """Where a label is in the table, or is to be put."""
    mask = slots.size - 1
    at = np.int64((label * SPREAD) >> np.uint64(32)) & mask
    while slots[at] >= 0 and ids[slots[at]] != label:
        at = (at + 1) & mask
    return at


@jit
def number_labels(labels: Any, numbers: Any, ids: Any) -> Any:
    """Number the labels of a cell 0, 1, ... in the order in which they are met; 0 is background.

    Parameters
    ----------
    labels : ndarray, (z, y, x), uint64
    numbers : ndarray, (z, y, x), int32
        Filled with the number of each voxel's label, -1 in the background.
    ids : ndarray, (voxels,), uint64
        Its beginning is filled with the label of each number.

    Returns
    -------
    int
        How many labels there are.
    """
    slots = np.full(FIRST_SLOTS, -1, np.int32)
    count = 0
    last, last_number = np.uint64(0), -1
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                label = labels[z, y, x]
                if label != last:
                    last, last_number = label, -1
                    if label != 0:
                        at = _find_slot(slots, ids, label)
                        if slots[at] < 0:
                            ids[count] = label
                            slots[at] = count
                            count += 1
                        last_number = slots[at]
                        if 2 * count > slots.size:
                            slots = np.full(2 * slots.size, -1, np.int32)
                            for number in range(count):
                                slots[_find_slot(slots, ids, ids[number])] = number
                numbers[z, y, x] = last_number
    return count


@jit
def _sum_squares(n: Any) -> Any:
    """0 + 1 + 4 + ... + (n - 1)^2."""
    return (n - 1) * n * (2 * n - 1) // 6


@jit
def add_positions(numbers: Any, counts: Any, low: Any, high: Any, sums: Any, products: Any) -> None:
    """Voxels, bounding box, and sums of positions and of their products, all relative to the cell.

    Parameters
    ----------
    numbers : ndarray, (z, y, x), int32
        As `number_labels` gives them.
    counts : ndarray, (n,), int64
    low, high : ndarray, (n, 3), int64
        First voxel and one past the last, along z, y, x; to be given as large and as 0.
    sums : ndarray, (n, 3), int64
    products : ndarray, (n, 6), int64
        Of zz, yy, xx, zy, zx, yx.
    """
    depth, height, width = numbers.shape
    for z in range(depth):
        for y in range(height):
            x = 0
            while x < width:
                i, first = numbers[z, y, x], x
                while x < width and numbers[z, y, x] == i:
                    x += 1
                if i < 0:
                    continue
                n = x - first
                along = (first + x - 1) * n // 2
                counts[i] += n
                sums[i, 0] += z * n
                sums[i, 1] += y * n
                sums[i, 2] += along
                products[i, 0] += z * z * n
                products[i, 1] += y * y * n
                products[i, 2] += _sum_squares(x) - _sum_squares(first)
                products[i, 3] += z * y * n
                products[i, 4] += z * along
                products[i, 5] += y * along
                low[i, 0] = min(low[i, 0], z)
                low[i, 1] = min(low[i, 1], y)
                low[i, 2] = min(low[i, 2], first)
                high[i, 0] = max(high[i, 0], z + 1)
                high[i, 1] = max(high[i, 1], y + 1)
                high[i, 2] = max(high[i, 2], x)


@jit
def add_values(numbers: Any, values: Any, total: Any, least: Any, most: Any) -> None:
    """Sum, smallest and largest value of each label, voxel by voxel in C order; a NaN makes all three NaN.

    Parameters
    ----------
    numbers : ndarray, (z, y, x), int32
    values : ndarray, (z, y, x), float64
    total, least, most : ndarray, (n,), float64
        To be given as 0, infinity and minus infinity.
    """
    for z in range(numbers.shape[0]):
        for y in range(numbers.shape[1]):
            for x in range(numbers.shape[2]):
                i = numbers[z, y, x]
                if i >= 0:
                    value = values[z, y, x]
                    total[i] += value
                    if value < least[i] or value != value:
                        least[i] = value
                    if value > most[i] or value != value:
                        most[i] = value


@jit
def add_deviations(numbers: Any, values: Any, means: Any, squares: Any) -> None:
    """Sum of squared distances from the mean of each label, voxel by voxel in C order.

    Parameters
    ----------
    numbers : ndarray, (z, y, x), int32
    values : ndarray, (z, y, x), float64
    means, squares : ndarray, (n,), float64
    """
    for z in range(numbers.shape[0]):
        for y in range(numbers.shape[1]):
            for x in range(numbers.shape[2]):
                i = numbers[z, y, x]
                if i >= 0:
                    distance = values[z, y, x] - means[i]
                    squares[i] += distance * distance


@jit
def merge_moments(starts: Any, counts: Any, means: Any, moments: Any, pairs: Any, merged: Any) -> None:
    """Second moments of groups of parts about the mean of the whole group, part by part in the order given.

    Parameters
    ----------
    starts : ndarray, (groups + 1,), int64
        First part of each group, and the number of parts.
    counts : ndarray, (parts,), int64
        Voxels of each part.
    means : ndarray, (parts, k), float64
    moments : ndarray, (parts, m), float64
        Sums of products of distances from the part's own means.
    pairs : ndarray, (m, 2), int64
        Which two of the k each moment is of.
    merged : ndarray, (groups, m), float64
        Filled.

    Notes
    -----
    Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    It subtracts no large numbers from each other, so far-away positions and bright values lose nothing.
    """
    mean = np.zeros(means.shape[1])
    distance = np.zeros(means.shape[1])
    for group in range(starts.size - 1):
        voxels = 0
        mean[:] = 0.0
        merged[group, :] = 0.0
        for part in range(starts[group], starts[group + 1]):
            together = voxels + counts[part]
            share = counts[part] / together
            for k in range(mean.size):
                distance[k] = means[part, k] - mean[k]
                mean[k] += distance[k] * share
            for m in range(pairs.shape[0]):
                apart = distance[pairs[m, 0]] * distance[pairs[m, 1]] * (voxels * share)
                merged[group, m] += moments[part, m] + apart
            voxels = together


@jit
def merge_sums(starts: Any, totals: Any, merged: Any) -> None:
    """Sums of groups of parts, part by part in the order given.

    Parameters
    ----------
    starts : ndarray, (groups + 1,), int64
    totals : ndarray, (parts, k), float64
    merged : ndarray, (groups, k), float64
        Filled.
    """
    for group in range(starts.size - 1):
        for k in range(totals.shape[1]):
            merged[group, k] = 0.0
            for part in range(starts[group], starts[group + 1]):
                merged[group, k] += totals[part, k]
