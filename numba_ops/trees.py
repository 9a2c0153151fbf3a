"""Random forests packed for evaluation: 16 bytes a node, thresholds that float32 values meet exactly.

Pure: a plan packs a forest once and sends it to the workers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

NODE = np.dtype([("column", "i4"), ("threshold", "f4"), ("left", "i4"), ("leaf", "i4")])


class Trees(NamedTuple):
    """A forest packed for evaluation.

    Attributes
    ----------
    nodes : ndarray, (nodes,), NODE
        16 bytes a node, one cache line a step. The right child follows the left; a leaf has `leaf` >= 0. A float32 goes
        left if it is below `threshold`.
    probability : ndarray, (leaves, classes), float32
    total : ndarray, (leaves,), float64
        Sum of the leaf's probabilities.
    roots : ndarray, (trees,), int32
    groups : ndarray, (groups + 1,), int64
        First tree of each group of trees that is averaged on its own, and the number of trees.
    plain : bool
        Whether every leaf sums to 1 so nearly that a group's total is its number of trees.
    stack : int
        Deepest pile of undecided nodes that a walk can need.
    columns : int
        Features of a row.
    """

    nodes: Any
    probability: Any
    total: Any
    roots: Any
    groups: Any
    plain: bool
    stack: int
    columns: int


def pack(
    column: npt.NDArray[np.int32],
    threshold: npt.NDArray[np.float64],
    left: npt.NDArray[np.int32],
    probability: npt.NDArray[np.float64],
    roots: npt.NDArray[np.int32],
    group: npt.NDArray[np.int32],
    columns: int,
) -> Trees:
    """Pack checked trees.

    Parameters
    ----------
    column : ndarray, (nodes,), int32
        Tested column, -1 at leaves.
    threshold : ndarray, (nodes,), float64
        A row goes left if ``float64(value) < threshold``.
    left : ndarray, (nodes,), int32
        Left child; the right child is the next node.
    probability : ndarray, (nodes, classes), float64
        Probabilities of the leaves.
    roots, group : ndarray, (trees,), int32
        Root and group of each tree; groups ascend.
    columns : int
        Features of a row.

    Notes
    -----
    Thresholds lie between float32 values: each becomes the smallest float32 that is not below it, which decides alike
    for every float32.
    """
    leaf = column < 0
    nodes = np.zeros(len(column), NODE)
    nodes["column"] = np.where(leaf, 0, column)
    with np.errstate(over="ignore"):
        nearest = threshold.astype(np.float32)
    below = nearest.astype(np.float64) < threshold
    nodes["threshold"] = np.where(below, np.nextafter(nearest, np.float32(np.inf)), nearest)
    nodes["left"] = left
    nodes["leaf"] = np.where(leaf, np.cumsum(leaf) - 1, -1)
    leaves = probability[leaf]
    total = _sum_classes(leaves)
    first = np.flatnonzero(np.r_[True, np.diff(group) != 0]) if len(group) else np.zeros(0, np.int64)
    return Trees(
        nodes=nodes,
        probability=np.ascontiguousarray(leaves, np.float32),
        total=total,
        roots=np.ascontiguousarray(roots, np.int32),
        groups=np.append(first, len(group)).astype(np.int64),
        # a total off by less than half a float32's spacing rounds to the number of trees
        plain=bool((np.abs(total - 1.0) < 2.0**-26).all()),
        stack=_depth(left, leaf, roots) + 2,
        columns=columns,
    )


def _sum_classes(leaves: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.ascontiguousarray(leaves).sum(axis=1)


def _depth(left: npt.NDArray[np.int32], leaf: npt.NDArray[np.bool_], roots: npt.NDArray[np.int32]) -> int:
    depth, level = 0, np.asarray(roots, np.int64)
    while True:
        level = level[~leaf[level]]
        if not len(level):
            return depth
        level = np.concatenate([left[level], left[level] + 1])
        depth += 1
