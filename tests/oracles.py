"""Slow, plain answers to compare with; shared by tests and benchmarks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from pipeline.features import FeatureSelection
from pipeline.forest import Forest

GOLDEN = Path(__file__).parent / "golden"


def load_golden_module(name: str) -> ModuleType:
    """A script of tests/golden as a module: ``ref`` or ``make_golden``."""
    full = f"tests_golden_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, GOLDEN / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


def forest_rows(forest: Forest, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Class probabilities of feature rows, as SEMANTICS 5 has them.

    Parameters
    ----------
    forest : Forest
    x : float32, (rows, columns)

    Returns
    -------
    float32, (rows, classes)
        In the order of `forest.labels`; 0 for rows with a NaN.
    """
    x = np.ascontiguousarray(x, dtype=np.float32)
    nan = np.isnan(x).any(axis=1)
    total = np.zeros((len(x), forest.n_classes), dtype=np.float32)
    for group in np.unique(forest.group):
        trees = np.flatnonzero(forest.group == group)
        sums = np.zeros_like(total)
        weight = np.zeros(len(x))
        for tree in trees:
            leaf = forest.probability[_leaves(forest, int(forest.roots[tree]), x)]
            sums += leaf.astype(np.float32)
            weight += leaf.sum(axis=1)
        mean = sums / weight.astype(np.float32)[:, None]
        mean[nan] = 0
        total += mean * np.float32(len(trees))
    return total / np.float32(forest.n_trees)


def _leaves(forest: Forest, root: int, x: NDArray[np.float32]) -> NDArray[np.int64]:
    at = np.full(len(x), root, dtype=np.int64)
    while (live := np.flatnonzero(forest.column[at] >= 0)).size:
        node = at[live]
        left = x[live, forest.column[node]].astype(np.float64) < forest.threshold[node]
        at[live] = forest.child[node, np.where(left, 0, 1)]
    return at


def features_of(selection: FeatureSelection, volume_czyx: NDArray[np.generic]) -> NDArray[np.float32]:
    """All selected features of a whole volume, (c, z, y, x) -> float32 (columns, z, y, x)."""
    features = load_golden_module("ref").Features(
        selection.ids, selection.scales, np.array(selection.matrix), selection.compute_in_2d
    )
    computed: NDArray[np.float32] = features.compute(volume_czyx)
    return computed


def channels_of(forest: Forest, probability: NDArray[np.float32], n_labels: int) -> NDArray[np.float32]:
    """Probabilities of classes (..., classes) -> one channel for each label name (..., labels), 0 where untrained."""
    channels = np.zeros((*probability.shape[:-1], n_labels), dtype=np.float32)
    channels[..., [label - 1 for label in forest.labels]] = probability
    return channels
