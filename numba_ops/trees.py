"""Random forests packed for evaluation: 16 bytes a node, thresholds that float32 values meet exactly.

Pure: a plan packs a forest once and sends it to the workers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

BRICK = 64  # voxels that are decided at once
NODE = np.dtype([("place", "u4"), ("threshold", "f4"), ("kids", "u8")])
LEAF = np.uint32(1 << 31)  # bit of a code that says that what follows is a leaf


class Trees(NamedTuple):
    """A forest packed for evaluation.

    A node that decides has a code, its number; that of a leaf is `LEAF` and its slot if the forest votes, otherwise
    `LEAF` and its number. Both are numbered tree by tree.

    Attributes
    ----------
    nodes : ndarray, (nodes,), NODE
        16 bytes a node that decides, never across a cache line. `place` is where the column starts in a brick; a
        float32 goes left if it is below `threshold`; `kids` is the left child's code, and the right one's from bit 32.
    probability : ndarray, (leaves, classes), float32
    total : ndarray, (leaves,), float64
        Sum of the leaf's probabilities.
    tree : ndarray, (leaves,), int32
        Tree of each leaf.
    roots : ndarray, (trees,), uint32
        A tree that is a leaf has a node that decides nothing.
    groups : ndarray, (groups + 1,), int64
        First tree of each group of trees that is averaged on its own, and the number of trees.
    plain : bool
        Whether every leaf sums to 1 so nearly that a group's total is its number of trees.
    votes : bool
        Whether every leaf is for one class alone, as in trees grown until their leaves are pure. Sums of float32 then
        are whole numbers, the same in any order: a slot holds what a tree says of a class.
    slots : ndarray, (groups * classes + 1,), int64
        First slot of each class of each group, and the number of slots; 0 if the forest does not vote.
    columns : int
        Features of a row.
    """

    nodes: Any
    probability: Any
    total: Any
    tree: Any
    roots: Any
    groups: Any
    plain: bool
    votes: bool
    slots: Any
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
        Root and group of each tree; trees lie one after the other, groups ascend.
    columns : int
        Features of a row.
    """
    leaf = column < 0
    leaves = np.ascontiguousarray(probability[leaf])
    total = leaves.sum(axis=1)
    share = leaves.astype(np.float32)
    tree = (np.searchsorted(roots, np.flatnonzero(leaf), side="right") - 1).astype(np.int32)
    # a total off by less than half a float32's spacing rounds to the number of trees
    plain = bool((np.abs(total - 1.0) < 2.0**-26).all())
    votes = plain and bool((np.count_nonzero(share, axis=1) == 1).all() and (share.max(axis=1) == 1).all())
    first = np.flatnonzero(np.r_[True, np.diff(group) != 0]) if len(group) else np.zeros(0, np.int64)
    slot, slots = np.arange(len(leaves)), np.zeros(len(first) * share.shape[1] + 1, np.int64)
    if votes:
        of_group = np.searchsorted(first, tree, side="right") - 1
        of_class = of_group * share.shape[1] + share.argmax(axis=1)
        taken, slot = np.unique(of_class * len(roots) + tree, return_inverse=True)
        slots = np.searchsorted(taken, np.arange(len(slots)) * len(roots))
    code = np.zeros(len(column), np.uint32)
    code[leaf] = slot.astype(np.uint32) | LEAF
    code[~leaf] = np.arange(np.count_nonzero(~leaf))
    nodes = _pack_nodes(column[~leaf], threshold[~leaf], code[left[~leaf]], code[left[~leaf] + 1])
    alone = np.flatnonzero(leaf[roots])
    start = code[roots]
    start[alone] = len(nodes) + np.arange(len(alone))
    lone = code[np.asarray(roots)[alone]]
    return Trees(
        nodes=np.concatenate([nodes, _pack_nodes(np.zeros(len(lone), np.int32), np.zeros(len(lone)), lone, lone)]),
        probability=share,
        total=total,
        tree=tree,
        roots=start,
        groups=np.append(first, len(group)).astype(np.int64),
        plain=plain,
        votes=votes,
        slots=slots.astype(np.int64),
        columns=columns,
    )


def _pack_nodes(
    column: npt.NDArray[np.int32],
    threshold: npt.NDArray[np.float64],
    left: npt.NDArray[np.uint32],
    right: npt.NDArray[np.uint32],
) -> npt.NDArray[np.void]:
    """Nodes that decide.

    Thresholds lie between float32 values: each becomes the smallest float32 that is not below it, which decides alike
    for every float32.
    """
    nodes = np.zeros(len(column), NODE)
    nodes["place"] = column * BRICK
    with np.errstate(over="ignore"):
        nearest = threshold.astype(np.float32)
    below = nearest.astype(np.float64) < threshold
    nodes["threshold"] = np.where(below, np.nextafter(nearest, np.float32(np.inf)), nearest)
    nodes["kids"] = left.astype(np.uint64) | right.astype(np.uint64) << np.uint64(32)
    return nodes
