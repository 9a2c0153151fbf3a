"""Trees as scikit-learn lays them out in arrays, checked and turned into our own layout.

Nodes of a tree lie one after the other, the root first; children are numbered within their tree. Leaves have -1 for
children. scikit-learn goes left where ``x <= threshold``, ours where ``x < threshold``: each threshold becomes the next
larger double, which decides the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.forest import Forest, Tree, join_trees

NODE_ARRAYS = ("children_left", "children_right", "feature", "threshold", "value")
TREE_ARRAYS = ("offsets", *NODE_ARRAYS, "classes")
MOST_TREES = 10_000
SHARES = 1e-9  # off 1 by less, the sum of a leaf's values is taken for 1
Values = npt.NDArray[Any]


def decode_forest(arrays: Mapping[str, Values], n_columns: int) -> Forest:
    """Check the arrays of a forest and lay its trees out breadth-first.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        ``offsets`` (trees + 1,) integers: where each tree's nodes begin, and the number of nodes; ``children_left``,
        ``children_right`` and ``feature`` (nodes,) integers; ``threshold`` (nodes,) float64; ``value`` (nodes, classes)
        float64, what a leaf says of each class up to a factor; ``classes`` (classes,) integers, ascending.
    n_columns : int
        Length of a row of features.

    Raises
    ------
    ModelError
        With the code ``bad_model``: a child outside its tree, a node with two parents or none, a cycle, a column out of
        range, a threshold or a value that is not finite.
    """
    offsets, classes = _check_lists(arrays)
    nodes = {name: arrays[name] for name in NODE_ARRAYS}
    trees = []
    for number, (start, stop) in enumerate(itertools.pairwise(offsets)):
        try:
            trees.append(_decode_tree({name: values[start:stop] for name, values in nodes.items()}, n_columns))
        except ModelError as error:
            raise ModelError(f"has a tree {number} that cannot be used: {error.message}", error.code) from None
    return join_trees(trees, [0] * len(trees), range(1, len(classes) + 1), n_columns)


def _refuse(what: str) -> ModelError:
    return ModelError(what, "bad_model")


def _check_lists(arrays: Mapping[str, Values]) -> tuple[list[int], list[int]]:
    """The offsets and the classes, all arrays being of the types and shapes that they are to have."""
    for name in ("offsets", "classes", "children_left", "children_right", "feature"):
        if arrays[name].dtype.kind not in "iu" or arrays[name].dtype == np.uint64 or arrays[name].ndim != 1:
            raise _refuse(f"has an array {name} that is no list of whole numbers")
    classes, offsets = arrays["classes"].tolist(), arrays["offsets"].tolist()
    if not classes or sorted(set(classes)) != classes:
        raise _refuse("has an array classes that is empty or does not ascend")
    count = len(arrays["feature"])
    if not 2 <= len(offsets) <= MOST_TREES + 1 or offsets[0] != 0 or offsets[-1] != count:
        raise _refuse(f"has an array offsets that does not go from 0 to its {count} nodes, for 1 to {MOST_TREES} trees")
    if any(b <= a for a, b in itertools.pairwise(offsets)):
        raise _refuse("has an array offsets that does not ascend: a tree has no node")
    shapes = {"threshold": (count,), "value": (count, len(classes))}
    for name in NODE_ARRAYS:
        values, shape = arrays[name], shapes.get(name, (count,))
        if values.shape != shape or (name in shapes and values.dtype != np.float64):
            wanted = f"float64 of {shape}" if name in shapes else f"of {shape}"
            raise _refuse(f"has an array {name} of {values.dtype} and shape {values.shape}, not {wanted}")
    return offsets, classes


def _decode_tree(nodes: Mapping[str, Values], n_columns: int) -> Tree:
    left, right = (nodes[name].astype(np.int64) for name in ("children_left", "children_right"))
    leaf = left == -1
    _refuse_where(leaf != (right == -1), "has one child alone")
    _check_structure(left, right, leaf)
    feature, threshold, value = (nodes[name] for name in ("feature", "threshold", "value"))
    _refuse_where(~leaf & ((feature < 0) | (feature >= n_columns)), f"tests a feature outside 0..{n_columns - 1}")
    _refuse_where(~leaf & ~np.isfinite(threshold), "has a threshold that is not finite")
    with np.errstate(all="ignore"):
        total = value.sum(axis=1)
        # scikit-learn from 1.3 on stores shares and uses them as they are, whose sum may be off by a last digit
        share = np.where(np.abs(total - 1)[:, None] < SHARES, value, value / total[:, None])
        good = (value >= 0).all(axis=1) & (total > 0) & np.isfinite(total) & np.isfinite(share).all(axis=1)
    _refuse_where(leaf & ~good, "is a leaf without valid values (finite, none negative, sum above 0)")
    order = _order(left, right)
    at_leaf = leaf[order]
    return Tree(
        column=np.where(at_leaf, -1, feature[order]).astype(np.int32),
        threshold=np.where(at_leaf, 0.0, np.nextafter(threshold[order], np.inf)),
        probability=np.where(at_leaf[:, None], share[order], 0.0),
    )


def _check_structure(left: Values, right: Values, leaf: npt.NDArray[np.bool_]) -> None:
    """Every node but the root is the child of exactly one node of its tree."""
    count = len(left)
    for child in (left, right):
        _refuse_where(~leaf & ((child < 1) | (child >= count)), f"has a child outside 1..{count - 1}")
    parents = np.bincount(np.concatenate([left[~leaf], right[~leaf]]), minlength=count)
    _refuse_where(parents > 1, "has two parents")
    _refuse_where((parents == 0) & (np.arange(count) > 0), "has no parent")


def _order(left: Values, right: Values) -> npt.NDArray[np.int64]:
    """Numbers of the nodes breadth-first; with one parent each, what the root does not reach is in a cycle."""
    order = [0]
    first, second = left.tolist(), right.tolist()
    for node in order:  # grows while it is walked
        if first[node] >= 0:
            order += (first[node], second[node])
    if len(order) != len(first):
        raise _refuse(f"{len(first) - len(order)} nodes are in a cycle that the root does not reach")
    return np.array(order)


def _refuse_where(bad: npt.NDArray[np.bool_], what: str) -> None:
    if bad.any():
        raise _refuse(f"node {int(np.argmax(bad))} {what}")
