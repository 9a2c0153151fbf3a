"""Random forests over bricks of 64 neighbouring voxels, equal to the bit to a walk row by row.

A brick is 4x4x4 voxels, 2x4x8 or 1x8x8 in thin slabs. Those of 16 neighbours along x, a cache line, are gathered at
once, walked (`brick_walk`) and written one after the other.
"""

# mypy: allow-untyped-defs
# Jitted functions carry no annotations: numba infers the types, and their docstrings tell them.

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from numba_ops._jit import freeze, jit
from numba_ops.brick_vectors import PARTED, ROW, gather4, gather8
from numba_ops.brick_walk import AT_ONCE, ZERO, evaluate_brick
from numba_ops.trees import BRICK, Trees, pack
from numba_ops.vector import copy4, copy8, keep_apart

__all__ = ["Trees", "pack", "predict_rows", "predict_slab"]


@jit
def _clear_invalid(columns, values, base, out):
    """Set the probabilities of voxels with a NaN in any column to 0."""
    for lane in range(BRICK):
        for c in range(columns):
            value = values[base + c * BRICK + lane]
            if value != value:
                for k in range(lane, out.size, BRICK):
                    out[k] = ZERO
                break


@jit
def _gather(slab, at, columns, step, places, bx, values, start, apart, ahead):
    """Copy 16 voxels of each row, all inside the slab, from every column, `step` apart; whether there is a NaN."""
    invalid = False
    for c in range(columns):
        if bx == 4:
            invalid |= gather4(slab, at + c * step, places, values, start + c * BRICK, apart, ahead)
        else:
            invalid |= gather8(slab, at + c * step, places, values, start + c * BRICK, apart, ahead)
    return invalid


@jit
def _gather_narrow(slab, columns, step, places, bx, values, start, apart, width):
    """The same where rows have less than 16 voxels: the last one is repeated."""
    invalid = False
    for c in range(columns):
        for r in range(places.size):
            for x in range(ROW):
                value = slab[c * step + places[r] + min(x, width - 1)]
                invalid |= value != value
                values[start + x // bx * apart + c * BRICK + r * bx + x % bx] = value
    return invalid


@jit
def _write_brick(result, bx, inside, out, step, targets, x):
    """Write the first `inside` voxels of each row of a brick to every class of `out`, `step` apart."""
    for k in range(result.size // BRICK):
        for r in range(targets.size):
            to = k * step + targets[r] + x
            at = k * BRICK + r * bx
            if inside == 8:
                copy8(result, at, out, to)
            elif inside == 4 and bx == 4:
                copy4(result, at, out, to)
            else:
                for i in range(inside):
                    out[to + i] = result[at + i]


@jit
def _predict(trees, slab, shape, out, out_shape, corner):
    """`predict_slab` on flat arrays."""
    keep_apart()
    columns, depth, rows, width = shape
    classes, out_depth, out_rows, out_width = out_shape
    bz = 1 if depth == 1 else (2 if depth == 2 else 4)
    by = 8 if depth == 1 else 4
    bx = BRICK // (bz * by)
    places, targets = np.empty(bz * by, np.int64), np.empty(bz * by, np.int64)
    apart = columns * BRICK
    values = np.empty(ROW // bx * apart + ROW, np.float32)
    start = -(values.ctypes.data // 4) % ROW  # of a cache line: a comparison that meets two takes twice as long
    result, sums = np.empty(classes * BRICK, np.float32), np.empty(classes * BRICK, np.float32)
    weight, totals = np.empty(BRICK, np.float32), np.empty(BRICK, np.float64)
    # Each voxel is in one node of a tree at a time, and no node is met twice.
    room = min(BRICK * min(trees.roots.size, AT_ONCE), 2 * trees.nodes.size) + PARTED
    words, codes = np.empty(5 * room, np.uint64), np.empty(3 * room, np.uint32)
    starts = np.empty(AT_ONCE + 2, np.int64)
    votes = np.empty(trees.slots[-1], np.uint64)
    for z in range(0, depth, bz):
        for y in range(0, rows, by):
            for r in range(bz * by):  # rows beyond the slab repeat its last one, which is written again
                plane, row = min(z + r // by, depth - 1), min(y + r % by, rows - 1)
                places[r] = (plane * rows + row) * width
                targets[r] = ((corner[0] + plane) * out_rows + corner[1] + row) * out_width + corner[2]
            for x in range(0, width, ROW):
                bricks = min(ROW, width - x + bx - 1) // bx
                at = max(min(x, width - ROW), 0)  # the last voxels of a row: some of them once more
                ahead = ROW if x + ROW < width else by * width - at
                if width >= ROW:
                    skipped = ROW // bx - bricks
                    invalid = _gather(slab, at, columns, depth * rows * width, places, bx, values, start, apart, ahead)
                else:
                    skipped = 0
                    invalid = _gather_narrow(
                        slab, columns, depth * rows * width, places, bx, values, start, apart, width
                    )
                for i in range(skipped, skipped + bricks):
                    base = start + i * apart
                    evaluate_brick(trees, values, base, result, sums, weight, totals, votes, words, codes, starts)
                    if invalid:
                        _clear_invalid(columns, values, base, result)
                    inside = min(bx, width - at - i * bx)
                    _write_brick(result, bx, inside, out, out_depth * out_rows * out_width, targets, at + i * bx)


def predict_slab(
    trees: Trees,
    slab: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
    z0: int,
    y0: int,
    x0: int,
) -> None:
    """Class probabilities of a slab of features.

    Parameters
    ----------
    trees : Trees
    slab : ndarray, (columns, z, y, x), float32
        Features of a few planes; columns as the forest numbers them.
    out : ndarray, (classes, Z, Y, X), float32, contiguous
        Written at ``[:, z0:z0 + z, y0:y0 + y, x0:x0 + x]``. A voxel with a NaN in any column gets 0 everywhere.
    z0, y0, x0 : int
        Where to write.

    Raises
    ------
    ValueError
        If the slab has another number of columns than the forest, or the place is not in `out`.
    """
    classes = trees.probability.shape[1]
    places = zip((z0, y0, x0), slab.shape[1:], out.shape[1:], strict=True)
    inside = all(at >= 0 and at + n <= whole for at, n, whole in places)
    if slab.shape[0] != trees.columns or out.shape[0] != classes or not inside or not out.flags.c_contiguous:
        raise ValueError(f"slab {slab.shape} for {trees.columns} columns, to ({z0}, {y0}, {x0}) of {out.shape}")
    frozen = trees._replace(
        nodes=freeze(trees.nodes),
        probability=freeze(trees.probability),
        total=freeze(trees.total),
        tree=freeze(trees.tree),
        roots=freeze(trees.roots),
        groups=freeze(trees.groups),
        slots=freeze(trees.slots),
    )
    _predict(frozen, freeze(slab).reshape(-1), slab.shape, out.reshape(-1), out.shape, (z0, y0, x0))


def predict_rows(trees: Trees, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Class probabilities of feature rows.

    Parameters
    ----------
    trees : Trees
    rows : ndarray, (n, columns), float32

    Returns
    -------
    ndarray, (n, classes), float32

    Raises
    ------
    ValueError
        If the rows have another number of columns than the forest.
    """
    if rows.ndim != 2 or rows.shape[1] != trees.columns:
        raise ValueError(f"rows of shape {rows.shape} for a forest of {trees.columns} columns")
    slab = np.ascontiguousarray(rows.T, np.float32).reshape(trees.columns, 1, 1, len(rows))
    out = np.empty((trees.probability.shape[1], 1, 1, len(rows)), np.float32)
    if len(rows):
        predict_slab(trees, slab, out, 0, 0, 0)
    return np.ascontiguousarray(out[:, 0, 0].T)
