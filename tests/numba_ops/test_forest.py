"""Forests over bricks against the plain walk, row by row."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from numba_ops.forest import Trees, pack, predict_rows, predict_slab
from pipeline.forest import Forest, Tree, join_trees
from pipeline.project import open_project
from tests.oracles import forest_rows

Float = NDArray[np.float32]


def _pack(forest: Forest) -> Trees:
    return pack(
        forest.column,
        forest.threshold,
        forest.child[:, 0],
        forest.probability,
        forest.roots,
        forest.group,
        forest.n_columns,
    )


def _grow_tree(rng: np.random.Generator, leaves: int, columns: int, classes: int, shape: str) -> Tree:
    """A random tree, breadth-first: `shape` is bushy or chain."""
    waiting = [leaves]
    column, threshold, probability = [], [], []
    while waiting:
        share = waiting.pop(0)
        if share == 1:
            column.append(-1)
            threshold.append(0.0)
            if rng.random() < 0.5:
                probability.append(np.eye(classes)[rng.integers(classes)])
            else:
                p = rng.random(classes)
                probability.append(p / p.sum())
        else:
            column.append(int(rng.integers(columns)))
            threshold.append(float(np.float32(rng.normal()) if rng.random() < 0.3 else rng.normal()))
            probability.append(np.zeros(classes))
            left = 1 if shape == "chain" else int(rng.integers(1, share))
            waiting += [left, share - left]
    return Tree(np.array(column, np.int32), np.array(threshold), np.array(probability))


def _grow(
    seed: int, trees: int, leaves: int, columns: int = 4, classes: int = 2, groups: int = 1, shape: str = "bushy"
) -> Forest:
    rng = np.random.default_rng(seed)
    grown = [_grow_tree(rng, int(rng.integers(1, leaves + 1)), columns, classes, shape) for _ in range(trees)]
    return join_trees(grown, np.sort(rng.integers(0, groups, trees)), range(1, classes + 1), columns)


def _predict(forest: Forest, values: Float) -> Float:
    """Probabilities of (columns, z, y, x), in a larger array, whose other values must stay."""
    classes, shape = forest.n_classes, values.shape[1:]
    out = np.full((classes, *(n + 3 for n in shape)), 7, np.float32)
    predict_slab(_pack(forest), values, out, 1, 2, 3)
    inside = (slice(None), *(slice(at, at + n) for at, n in zip((1, 2, 3), shape, strict=True)))
    result = out[inside].copy()
    out[inside] = 7
    assert (out == 7).all()
    return result


def _expect(forest: Forest, values: Float) -> Float:
    rows = values.reshape(len(values), -1).T
    return forest_rows(forest, rows).T.reshape(forest.n_classes, *values.shape[1:])


@given(
    st.integers(0, 999),
    st.integers(1, 12),
    st.sampled_from([1, 2, 5, 30]),
    st.sampled_from([1, 2, 3, 11]),
    st.integers(1, 4),
    st.sampled_from(["bushy", "chain"]),
    st.tuples(st.integers(1, 6), st.integers(1, 11), st.integers(1, 18)),
    st.sampled_from(["noise", "smooth"]),
)
def test_any_forest_on_any_slab(
    seed: int, trees: int, leaves: int, classes: int, groups: int, shape: str, size: tuple[int, int, int], kind: str
) -> None:
    forest = _grow(seed, trees, leaves, classes=classes, groups=groups, shape=shape)
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(4, *size)).astype(np.float32)
    if kind == "smooth":
        values = np.cumsum(values, axis=3) * np.float32(0.1)
    assert np.array_equal(_predict(forest, values), _expect(forest, values))


@given(st.integers(0, 999), st.integers(1, 9))
def test_rows_with_nan_give_zero_and_infinite_ones_do_not(seed: int, special: int) -> None:
    forest = _grow(seed, 8, 20, groups=2)
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(4, 4, 8, 12)).astype(np.float32)
    for value in rng.choice([np.nan, np.inf, -np.inf, -0.0, 3e38], special):
        values[tuple(rng.integers(0, values.shape))] = value
    got = _predict(forest, values)
    assert np.array_equal(got, _expect(forest, values))
    assert (got[:, np.isnan(values).any(axis=0)] == 0).all()


@given(st.integers(0, 999))
def test_thresholds_between_and_on_single_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    forest = _grow(seed, 6, 8, columns=1)
    values = rng.normal(size=300).astype(np.float32)
    interior = forest.column >= 0
    chosen = rng.choice(values, int(interior.sum())).astype(np.float64)
    nudge = rng.choice([-1, -0.5, 0, 0.5, 1], len(chosen)) * np.spacing(chosen.astype(np.float32)).astype(np.float64)
    forest.threshold[interior] = chosen + nudge
    forest.threshold[interior & (rng.random(len(interior)) < 0.1)] = rng.choice([1e300, -1e300, 1e-300, -1e-300])
    rows = values[:, None]
    assert np.array_equal(predict_rows(_pack(forest), rows), forest_rows(forest, rows))


@given(st.integers(0, 999), st.integers(1, 3))
def test_leaves_that_do_not_sum_to_one(seed: int, groups: int) -> None:
    forest = _grow(seed, 7, 9, classes=3, groups=groups)
    leaves = forest.column < 0
    forest.probability[leaves] *= np.random.default_rng(seed).uniform(0.1, 5, (int(leaves.sum()), 1))
    rows = np.random.default_rng(seed).normal(size=(130, 4)).astype(np.float32)
    assert not _pack(forest).plain
    assert np.array_equal(predict_rows(_pack(forest), rows), forest_rows(forest, rows))


def test_deep_chains() -> None:
    forest = _grow(0, 3, 3000, shape="chain")
    rows = np.random.default_rng(1).normal(size=(200, 4)).astype(np.float32)
    assert np.array_equal(predict_rows(_pack(forest), rows), forest_rows(forest, rows))


def test_golden_rows(golden_dir: Path) -> None:
    with np.load(golden_dir / "probabilities.npz") as golden:
        rows, want = golden["rows_double_threshold"], golden["rows_double_threshold_prob"]
    forest = open_project(golden_dir / "projects" / "pc_double_threshold.ilp").stages[0].forest
    assert np.array_equal(predict_rows(_pack(forest), rows), want)


def test_packing() -> None:
    forest = _grow(3, 5, 12, classes=3, groups=3)
    trees = _pack(forest)
    assert trees.groups[-1] == 5
    assert trees.groups[0] == 0
    assert trees.plain
    assert trees.nodes.dtype.itemsize == 16
    assert (trees.nodes["leaf"] >= 0).sum() == len(trees.probability) == (forest.column < 0).sum()
    interior = forest.column >= 0
    packed = trees.nodes["threshold"][interior].astype(float)
    assert (packed >= forest.threshold[interior]).all()
    assert (np.nextafter(packed.astype(np.float32), np.float32(-math.inf)) < forest.threshold[interior]).all()


def test_shapes_are_checked() -> None:
    trees = _pack(_grow(0, 2, 4))
    with pytest.raises(ValueError, match="4 columns"):
        predict_rows(trees, np.zeros((5, 3), np.float32))
    slab = np.zeros((4, 2, 2, 2), np.float32)
    outs = [np.zeros(shape, np.float32) for shape in ((2, 2, 2, 2), (3, 2, 2, 2), (2, 2, 2, 4))]
    for out, x in ((outs[0], 1), (outs[1], 0), (outs[2][..., ::2], 0)):
        with pytest.raises(ValueError, match="columns"):
            predict_slab(trees, slab, out, 0, 0, x)
    assert predict_rows(trees, np.zeros((0, 4), np.float32)).shape == (0, 2)
