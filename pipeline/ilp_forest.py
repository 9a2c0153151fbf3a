"""Trees between the layout of ilastik's files and flat arrays, with every check that the evaluator relies on.

A file's tree is an int32 array ``topology`` (features, classes, then nodes at absolute addresses, the root at 2) and a
float64 array ``parameters`` (SEMANTICS 8). Its nodes are found by a plain loop over a growing list, so depth costs
nothing and a cycle ends it; everything else is checked for all nodes at once.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ProjectError
from pipeline.forest import Tree

MAX_CLASSES = 1000
_ROOT = 2
_INTERIOR = 0
_LEAF = 0x40000000
_SUM_RANGE = (1e-30, 1e30)
"""Sums of leaf probabilities that stay finite and above 0 in float32, however many trees are added."""

_MAX_SHARED = 10_000_000


def _refuse(what: str) -> ProjectError:
    return ProjectError(what, "bad_forest")


def decode_tree(
    topology: NDArray[np.generic] | None, parameters: NDArray[np.generic] | None, n_columns: int, n_classes: int
) -> Tree:
    """Check a tree as the file has it and lay it out breadth-first.

    Parameters
    ----------
    topology : int, (n,)
        As stored; any signed integer type.
    parameters : float64, (m,)
        As stored.
    n_columns, n_classes : int
        What the forest says about itself; the tree's header must agree.

    Raises
    ------
    ProjectError
        With code ``bad_forest`` for everything that SEMANTICS 11 lists; the message names node and value. With code
        ``too_large`` if leaves share their parameters so often that the result would be far larger than the file.
    """
    top, par = _check_arrays(topology, parameters)
    if len(top) < _ROOT + 2 or (top[0], top[1]) != (n_columns, n_classes):
        raise _refuse(f"its header is {top[:2].tolist()}, not {n_columns} features and {n_classes} classes")
    node = np.frombuffer(_walk(top), dtype=np.int64)
    leaf = top[node] == _LEAF
    address = top[node + 1]
    needed = np.where(leaf, 1 + n_classes, 2)
    if leaf.sum() * n_classes > max(len(par), _MAX_SHARED):  # leaves may share parameters, but not to fill the memory
        raise ProjectError(f"its {leaf.sum()} leaves of {n_classes} classes exceed its parameters", "too_large")
    _refuse_where((address < 0) | (address > len(par) - needed), node, "has its parameters out of range")
    column, threshold = _decode_interior(top, par, node, address, leaf, n_columns)
    return Tree(column, threshold, _decode_leaves(par, node, address, leaf, n_classes))


def _check_arrays(
    topology: NDArray[np.generic] | None, parameters: NDArray[np.generic] | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if topology is None or topology.ndim != 1 or topology.dtype.kind != "i":
        raise _refuse("its topology is no list of integers")
    if parameters is None or parameters.ndim != 1 or parameters.dtype.kind != "f" or parameters.dtype.itemsize != 8:
        raise _refuse("its parameters are no list of float64")
    return np.ascontiguousarray(topology, dtype=np.int64), np.ascontiguousarray(parameters, dtype=np.float64)


def _walk(top: NDArray[np.int64]) -> array[int]:
    """Addresses of all nodes, breadth-first; every one lies inside, has a known type and is reached once."""
    view, end = top.data, len(top)
    order = array("q", [_ROOT])
    for at in order:  # grows while it is walked
        if not _ROOT <= at < end - 1:
            raise _refuse(f"a node is said to be at {at}, outside 2..{end - 2}")
        kind = view[at]
        if kind == _INTERIOR:
            if at + 4 >= end:
                raise _refuse(f"node {at} is cut off")
            order.append(view[at + 2])
            order.append(view[at + 3])
            if len(order) > end:
                break
        elif kind != _LEAF:
            raise _refuse(f"node {at} is of type {kind:#x}; only threshold nodes (0) and leaves are known")
    nodes, times = np.unique(np.frombuffer(order, dtype=np.int64), return_counts=True)
    _refuse_where(times > 1, nodes, "is reached twice, by a cycle or by two parents")
    return order


def _decode_interior(
    top: NDArray[np.int64],
    par: NDArray[np.float64],
    node: NDArray[np.int64],
    address: NDArray[np.int64],
    leaf: NDArray[np.bool_],
    n_columns: int,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    at = node[~leaf]
    columns = top[at + 4]
    _refuse_where((columns < 0) | (columns >= n_columns), at, f"tests a column outside 0..{n_columns - 1}")
    thresholds = par[address[~leaf] + 1]
    _refuse_where(~np.isfinite(thresholds), at, "has a threshold that is not finite")
    column = np.full(len(node), -1, dtype=np.int32)
    threshold = np.zeros(len(node))
    column[~leaf], threshold[~leaf] = columns, thresholds
    return column, threshold


def _decode_leaves(
    par: NDArray[np.float64],
    node: NDArray[np.int64],
    address: NDArray[np.int64],
    leaf: NDArray[np.bool_],
    n_classes: int,
) -> NDArray[np.float64]:
    values = par[address[leaf, None] + np.arange(1, n_classes + 1)]
    with np.errstate(all="ignore"):
        total = values.sum(axis=1)
        good = (values >= 0).all(axis=1) & (total >= _SUM_RANGE[0]) & (total <= _SUM_RANGE[1])
    _refuse_where(~good, node[leaf], "is a leaf without valid probabilities (finite, none negative, sum above 0)")
    probability = np.zeros((len(node), n_classes))
    probability[leaf] = values
    return probability


def _refuse_where(bad: NDArray[np.bool_], node: NDArray[np.int64], what: str) -> None:
    if bad.any():
        raise _refuse(f"node {node[np.argmax(bad)]} {what}")


def encode_tree(tree: Tree, n_columns: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """A tree as the file has it: (topology int32, parameters float64).

    The sample numbers of leaves are written as 1: they count only in weighted prediction, which ilastik never uses.
    """
    leaf = tree.column < 0
    n_classes = tree.probability.shape[1]
    node = _ROOT + np.concatenate([[0], np.cumsum(np.where(leaf, 2, 5))])
    address = np.concatenate([[0], np.cumsum(np.where(leaf, 1 + n_classes, 2))])
    topology = np.zeros(node[-1], dtype=np.int32)
    topology[:_ROOT] = n_columns, n_classes
    topology[node[:-1]] = np.where(leaf, _LEAF, _INTERIOR)
    topology[node[:-1] + 1] = address[:-1]
    at, first = node[:-1][~leaf], tree.first_children()[~leaf]
    topology[at + 2], topology[at + 3], topology[at + 4] = node[first], node[first + 1], tree.column[~leaf]
    parameters = np.ones(address[-1])
    parameters[address[:-1][~leaf] + 1] = tree.threshold[~leaf]
    parameters[address[:-1][leaf, None] + np.arange(1, n_classes + 1)] = tree.probability[leaf]
    return topology, parameters
