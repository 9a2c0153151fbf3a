"""Random forests over bricks of 64 neighbouring voxels, equal to the bit to a walk row by row.

A brick is 4x4x4 voxels, 2x4x8 or 1x8x8 in thin slabs. The smallest and largest value of each column in a brick decide
most nodes for all 64 at once; where they do not, one vector comparison gives a 64-bit mask and the walk goes on with
the mask split. A leaf adds its probabilities under the mask. Trees come in order and sums are float32, so nothing is
added in another order than row by row. Source of the arithmetic: SEMANTICS section 5.
"""

# mypy: allow-untyped-defs
# Jitted functions carry no annotations: numba infers the types, and their docstrings tell them.

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from numba_ops._jit import freeze, jit
from numba_ops.trees import Trees, pack
from numba_ops.vector import BRICK, add_masked, below_mask, brick_range, gather4, gather8, keep_apart

__all__ = ["Trees", "pack", "predict_rows", "predict_slab"]

EVERY = np.uint64(0xFFFFFFFFFFFFFFFF)
NONE = np.uint64(0)
ZERO = np.float32(0)


@jit
def _walk_brick(trees, values, first, last, out, low, high, node, mask):
    """Add trees ``first:last`` to the class sums of a brick.

    values: columns of 64 float32; out: classes of 64 float32; low, high: range of each column; node, mask: the stack.
    """
    classes = trees.probability.shape[1]
    for t in range(first, last):
        node[0] = trees.roots[t]
        mask[0] = EVERY
        top = 1
        while top > 0:
            top -= 1
            i = node[top]
            m = mask[top]
            while trees.nodes[i].leaf < 0:
                step = trees.nodes[i]
                c = step.column
                threshold = step.threshold
                left = step.left
                if high[c] < threshold:
                    i = left
                elif low[c] >= threshold:
                    i = left + 1
                else:
                    below = below_mask(values, c * BRICK, threshold) & m
                    above = m & ~below
                    if above == NONE:
                        i = left
                    elif below == NONE:
                        i = left + 1
                    else:
                        node[top] = left + 1
                        mask[top] = above
                        top += 1
                        i = left
                        m = below
            leaf = trees.nodes[i].leaf
            for k in range(classes):
                share = trees.probability[leaf, k]
                if share != ZERO:
                    add_masked(out, k * BRICK, m, share)


@jit
def _walk_lane(trees, values, lane, first, last, out):
    """The plain walk for one voxel of a brick: class sums and the total of all leaf probabilities."""
    total = 0.0
    for t in range(first, last):
        i = trees.roots[t]
        while trees.nodes[i].leaf < 0:
            step = trees.nodes[i]
            i = step.left if values[step.column * BRICK + lane] < step.threshold else step.left + 1
        leaf = trees.nodes[i].leaf
        for k in range(trees.probability.shape[1]):
            out[k * BRICK + lane] += trees.probability[leaf, k]
        total += trees.total[leaf]
    return total


@jit
def _evaluate_brick(trees, values, invalid, out, sums, low, high, node, mask):
    """Probabilities of one brick: values (columns, 64), out and sums (classes, 64), flat; `invalid`: bits of NaN."""
    n = trees.probability.shape[1] * BRICK
    for i in range(n):
        out[i] = ZERO
    for group in range(trees.groups.size - 1):
        first, last = trees.groups[group], trees.groups[group + 1]
        count = np.float32(last - first)
        for i in range(n):
            sums[i] = ZERO
        if trees.plain and invalid == NONE:
            _walk_brick(trees, values, first, last, sums, low, high, node, mask)
            for i in range(n):
                out[i] += sums[i] / count * count
        else:
            for lane in range(BRICK):
                total = np.float32(_walk_lane(trees, values, lane, first, last, sums))
                for i in range(lane, n, BRICK):
                    out[i] += sums[i] / total * count
    trees_in_all = np.float32(trees.roots.size)
    for i in range(n):
        out[i] /= trees_in_all
    for lane in range(BRICK if invalid != NONE else 0):
        if (invalid >> np.uint64(lane)) & np.uint64(1):
            for i in range(lane, n, BRICK):
                out[i] = ZERO


@jit
def _gather_brick(slab, columns, step, places, width, values, low, high):
    """Copy the rows of a brick, all inside the slab, from every column, `step` apart; the result has bits for NaN."""
    invalid = NONE
    for c in range(columns):
        if width == 4:
            invalid |= gather4(slab, c * step, places, values, c * BRICK, low, high, c)
        else:
            invalid |= gather8(slab, c * step, places, values, c * BRICK, low, high, c)
    return invalid


@jit
def _gather_edge(slab, columns, step, places, width, inside, values, low, high):
    """The same where only the first `inside` voxels of a row are in the slab: the last one is repeated."""
    invalid = NONE
    for c in range(columns):
        at = c * BRICK
        for place in places:
            for k in range(width):
                values[at] = slab[c * step + place + min(k, inside - 1)]
                at += 1
        invalid |= brick_range(values, c * BRICK, low, high, c)
    return invalid


@jit
def _predict(trees, slab, shape, out, out_shape, corner):
    """`predict_slab` on flat arrays."""
    keep_apart()
    columns, depth, rows, width = shape
    classes, out_depth, out_rows, out_width = out_shape
    z0, y0, x0 = corner
    bz = 1 if depth == 1 else (2 if depth == 2 else 4)
    by = 8 if depth == 1 else 4
    bx = BRICK // (bz * by)
    places = np.empty(bz * by, np.int64)
    values = np.empty(columns * BRICK, np.float32)
    result, sums = np.empty(classes * BRICK, np.float32), np.empty(classes * BRICK, np.float32)
    low, high = np.empty(columns, np.float32), np.empty(columns, np.float32)
    node, mask = np.empty(trees.stack, np.int64), np.empty(trees.stack, np.uint64)
    for z in range(0, depth, bz):
        for y in range(0, rows, by):
            for x in range(0, width, bx):
                for r in range(bz * by):  # rows beyond the slab repeat its last one
                    places[r] = (min(z + r // by, depth - 1) * rows + min(y + r % by, rows - 1)) * width + x
                inside = min(bx, width - x)
                step = depth * rows * width
                if inside == bx:
                    invalid = _gather_brick(slab, columns, step, places, bx, values, low, high)
                else:
                    invalid = _gather_edge(slab, columns, step, places, bx, inside, values, low, high)
                _evaluate_brick(trees, values, invalid, result, sums, low, high, node, mask)
                for k in range(classes):
                    for r in range(bz * by):
                        if z + r // by < depth and y + r % by < rows:
                            plane = k * out_depth + z0 + z + r // by
                            to = (plane * out_rows + y0 + y + r % by) * out_width + x0 + x
                            at = k * BRICK + r * bx
                            for e in range(inside):
                                out[to + e] = result[at + e]


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
        roots=freeze(trees.roots),
        groups=freeze(trees.groups),
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
