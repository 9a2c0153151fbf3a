"""A random forest as flat arrays; NumPy only, checked when it is loaded, so that nobody checks it again.

Trees lie one after the other, each breadth-first, so that the two children of a node are neighbours. The rule for a row
of float32 features is SEMANTICS 5: go to the first child if ``float64(row[column]) < threshold``, else to the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_LABEL = 255
"""ilastik keeps annotations as uint8."""


@dataclass(frozen=True, eq=False)
class Forest:
    """All trees of a classifier.

    Parameters
    ----------
    column : int32, (nodes,)
        Feature that an interior node tests, -1 at leaves.
    threshold : float64, (nodes,)
        Compared in double: rounding it to float32 changes decisions. 0 at leaves.
    child : int32, (nodes, 2)
        Numbers of the two nodes below, the second always the first + 1; -1 at leaves.
    probability : float64, (nodes, classes)
        What a leaf says, not necessarily summing to 1; 0 at interior nodes.
    roots : int32, (trees,)
        Number of each tree's first node.
    group : int32, (trees,)
        Which Forest group of the file a tree came from, ascending: sums are rounded group by group.
    labels : tuple of int
        The label (1, 2, ...) of each class, ascending; a label without annotations is no class.
    n_columns : int
        Length of a row of features.
    """

    column: NDArray[np.int32]
    threshold: NDArray[np.float64]
    child: NDArray[np.int32]
    probability: NDArray[np.float64]
    roots: NDArray[np.int32]
    group: NDArray[np.int32]
    labels: tuple[int, ...]
    n_columns: int

    @property
    def n_classes(self) -> int:
        """Number of classes, those with annotations only."""
        return len(self.labels)

    @property
    def n_trees(self) -> int:
        """Number of trees over all groups."""
        return len(self.roots)

    @property
    def n_nodes(self) -> int:
        """Number of nodes of all trees, leaves included."""
        return len(self.column)

    @property
    def n_groups(self) -> int:
        """Number of Forest groups."""
        return len(np.unique(self.group))

    def tree(self, number: int) -> Tree:
        """The nodes of one tree, breadth-first."""
        end = self.roots[number + 1] if number + 1 < self.n_trees else self.n_nodes
        nodes = slice(int(self.roots[number]), int(end))
        return Tree(self.column[nodes], self.threshold[nodes], self.probability[nodes])


class Tree(NamedTuple):
    """One tree breadth-first: the children of the k-th interior node are the nodes 2k + 1 and 2k + 2.

    `column` int32 (nodes,), -1 at leaves; `threshold` float64 (nodes,); `probability` float64 (nodes, classes).
    """

    column: NDArray[np.int32]
    threshold: NDArray[np.float64]
    probability: NDArray[np.float64]

    def first_children(self) -> NDArray[np.int64]:
        """Number of each node's first child within the tree, -1 at leaves; (nodes,)."""
        interior = self.column >= 0
        return np.where(interior, 2 * np.cumsum(interior) - 1, -1)


def join_trees(trees: Sequence[Tree], group: Iterable[int], labels: Iterable[int], n_columns: int) -> Forest:
    """One forest of these trees.

    Parameters
    ----------
    trees : sequence of Tree
        At least one, already checked.
    group : iterable of int
        Forest group of each tree, ascending.
    labels : iterable of int
        Label of each class, ascending.
    n_columns : int
        Length of a row of features.
    """
    sizes = [len(tree.column) for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    first = np.concatenate([tree.first_children() for tree in trees])
    start = np.where(first >= 0, first + np.repeat(roots, sizes), -1)
    return Forest(
        column=np.concatenate([tree.column for tree in trees]).astype(np.int32, copy=False),
        threshold=np.concatenate([tree.threshold for tree in trees]),
        child=np.stack([start, np.where(start >= 0, start + 1, -1)], axis=1).astype(np.int32),
        probability=np.concatenate([tree.probability for tree in trees]),
        roots=roots.astype(np.int32),
        group=np.fromiter(group, dtype=np.int32, count=len(trees)),
        labels=tuple(int(label) for label in labels),
        n_columns=int(n_columns),
    )


def forest_of_sklearn(model: Any, groups: int = 1) -> Forest:
    """The trees of a fitted scikit-learn classifier, deciding the same for every float32 row.

    Parameters
    ----------
    model : sklearn.ensemble.RandomForestClassifier
        Fitted, one output; its classes are labels, whole numbers in 1..255.
    groups : int
        Number of Forest groups to deal the trees to, as evenly as possible.

    Returns
    -------
    Forest
        Same probabilities up to the order of summation.

    Raises
    ------
    ValueError
        If the classes are no labels, or there are fewer trees than groups.

    Notes
    -----
    scikit-learn goes left if ``x <= t``, ilastik if ``x < t``: each threshold becomes the next larger double.
    """
    labels = [int(label) for label in model.classes_]
    if list(model.classes_) != labels or not 1 <= min(labels) <= max(labels) <= MAX_LABEL:
        raise ValueError(f"classes must be whole numbers from 1 to {MAX_LABEL}, not {list(model.classes_)}")
    trees = [_tree_of_sklearn(estimator.tree_) for estimator in model.estimators_]
    if not 1 <= groups <= len(trees):
        raise ValueError(f"{len(trees)} trees cannot be dealt to {groups} groups")
    group = np.arange(len(trees)) * groups // len(trees)
    return join_trees(trees, group, labels, model.n_features_in_)


def _tree_of_sklearn(tree: Any) -> Tree:
    order = [0]
    for node in order:  # grows while it is walked: breadth-first
        if tree.children_left[node] >= 0:
            order += (int(tree.children_left[node]), int(tree.children_right[node]))
    leaf = tree.children_left[order] < 0
    value = tree.value[order, 0, :].astype(np.float64)
    probability = value / value.sum(axis=1, keepdims=True)
    return Tree(
        column=np.where(leaf, -1, tree.feature[order]).astype(np.int32),
        threshold=np.where(leaf, 0.0, np.nextafter(tree.threshold[order], np.inf)),
        probability=np.where(leaf[:, None], probability, 0.0),
    )
