"""Forests over bricks against the plain walk, row by row."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections import deque
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

ROOT = Path(__file__).parents[2]
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


def _grow_tree(
    rng: np.random.Generator, leaves: int, columns: int, classes: int, shape: str, pure: float = 0.5
) -> Tree:
    """A random tree, breadth-first: `shape` is bushy or chain, `pure` how many leaves are for one class."""
    waiting = deque([leaves])
    column, threshold, probability = [], [], []
    while waiting:
        share = waiting.popleft()
        if share == 1:
            column.append(-1)
            threshold.append(0.0)
            if rng.random() < pure:
                probability.append(np.eye(classes)[rng.integers(classes)])
            else:
                p = rng.random(classes)
                probability.append(p / p.sum())
        else:
            column.append(int(rng.integers(columns)))
            threshold.append(float(np.float32(rng.normal()) if rng.random() < 0.3 else rng.normal()))
            probability.append(np.zeros(classes))
            left = 1 if shape == "chain" else int(rng.integers(1, share))
            waiting.extend((left, share - left))
    return Tree(np.array(column, np.int32), np.array(threshold), np.array(probability))


def _grow(
    seed: int,
    trees: int,
    leaves: int,
    columns: int = 4,
    classes: int = 2,
    groups: int = 1,
    shape: str = "bushy",
    pure: bool = False,
) -> Forest:
    """A random forest; the leaves of a pure one are each for one class."""
    rng = np.random.default_rng(seed)
    share = 1.0 if pure else 0.5
    sizes = rng.integers(-(-leaves // 2) if leaves > 100 else 1, leaves + 1, trees)
    grown = [_grow_tree(rng, int(n), columns, classes, shape, share) for n in sizes]
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
    st.tuples(st.integers(1, 6), st.integers(1, 11), st.integers(1, 37)),
    st.sampled_from(["noise", "smooth"]),
    st.booleans(),
)
def test_any_forest_on_any_slab(
    seed: int,
    trees: int,
    leaves: int,
    classes: int,
    groups: int,
    shape: str,
    size: tuple[int, int, int],
    kind: str,
    pure: bool,
) -> None:
    forest = _grow(seed, trees, leaves, classes=classes, groups=groups, shape=shape, pure=pure)
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(4, *size)).astype(np.float32)
    if kind == "smooth":
        values = np.cumsum(values, axis=3) * np.float32(0.1)
    assert np.array_equal(_predict(forest, values), _expect(forest, values))


@given(st.integers(0, 999), st.integers(1, 9), st.booleans(), st.sampled_from([12, 16, 27]))
def test_rows_with_nan_give_zero_and_infinite_ones_do_not(seed: int, special: int, pure: bool, width: int) -> None:
    forest = _grow(seed, 8, 20, groups=2, pure=pure)
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(4, 4, 8, width)).astype(np.float32)
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


@pytest.mark.parametrize("pure", [True, False])
@pytest.mark.parametrize(("trees", "leaves", "classes", "groups"), [(700, 3, 2, 1), (300, 4, 3, 4), (6, 900, 300, 2)])
def test_many(trees: int, leaves: int, classes: int, groups: int, pure: bool) -> None:
    """More trees than are walked or counted at once, groups that end anywhere, more classes than a byte tells apart."""
    forest = _grow(1, trees, leaves, classes=classes, groups=groups, pure=pure)
    rows = np.random.default_rng(2).normal(size=(100, 4)).astype(np.float32)
    assert _pack(forest).votes == pure
    assert np.array_equal(predict_rows(_pack(forest), rows), forest_rows(forest, rows))


@pytest.mark.parametrize("pure", [True, False])
def test_more_thresholds_in_a_column_than_sixteen_bits_count(pure: bool) -> None:
    forest = _grow(0, 2, 150_000, columns=1, pure=pure)
    assert len(np.unique(forest.threshold)) > 1 << 16
    rows = np.random.default_rng(1).normal(size=(100, 1)).astype(np.float32)
    assert np.array_equal(predict_rows(_pack(forest), rows), forest_rows(forest, rows))


@given(st.integers(0, 999), st.integers(1, 3))
def test_one_leaf_of_many_is_mixed(seed: int, groups: int) -> None:
    forest = _grow(seed, 9, 30, groups=groups, pure=True)
    forest.probability[np.flatnonzero(forest.column < 0)[seed % 7]] = (1 / 3, 2 / 3)
    rows = np.random.default_rng(seed).normal(size=(130, 4)).astype(np.float32)
    assert not _pack(forest).votes
    assert np.array_equal(predict_rows(_pack(forest), rows), forest_rows(forest, rows))


CODE = """
import hashlib
from tests.numba_ops.test_forest import predict_some
print(hashlib.sha256(predict_some().tobytes()).hexdigest())
"""


def predict_some() -> Float:
    """Probabilities by forests of both kinds in slabs of both shapes of rows, as one array."""
    values = np.random.default_rng(0).normal(size=(4, 4, 6, 37)).astype(np.float32)
    forests = [_grow(5, 30, 40, classes=3, groups=2, pure=pure) for pure in (True, False)]
    return np.concatenate([_predict(f, slab).ravel() for f in forests for slab in (values, values[:, :1])])


@pytest.mark.parametrize(("name", "features"), [("haswell", "+avx,+avx2,+fma,+bmi,+bmi2"), ("generic", "")])
def test_other_processors_give_the_same_bits(name: str, features: str, tmp_path: Path) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("names of x86 processors")
    chosen = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = [sys.executable, "-c", CODE]
    done = subprocess.run(run, env=os.environ | chosen, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == hashlib.sha256(predict_some().tobytes()).hexdigest()


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
