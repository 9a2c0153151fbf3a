from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import ProjectError
from pipeline.forest import Tree, join_trees
from pipeline.ilp_forest import decode_tree, encode_tree
from tests.oracles import forest_rows, load_golden_module

LEAF = 0x40000000
STUMP = [6, 2, 0, 0, 7, 9, 4, LEAF, 2, LEAF, 5]
"""Features, classes; at 2 a node with parameters 0, children 7 and 9, column 4; leaves with parameters 2 and 5."""
PARAMETERS = [1.0, 0.5, 10.0, 1.0, 0.0, 20.0, 0.25, 0.75]


@st.composite
def trees(draw: st.DrawFn, n_columns: int = 4) -> Tree:
    """Any shape of tree, breadth-first."""
    n_classes = draw(st.integers(1, 3))
    column: list[int] = []
    threshold: list[float] = []
    probability: list[list[float]] = []
    open_nodes = 1
    while open_nodes:
        interior = len(column) + open_nodes < 40 and draw(st.booleans())
        column.append(draw(st.integers(0, n_columns - 1)) if interior else -1)
        threshold.append(draw(st.floats(-2, 2)) if interior else 0.0)
        values = st.lists(st.floats(0.01, 1), min_size=n_classes, max_size=n_classes)
        probability.append([0.0] * n_classes if interior else draw(values))
        open_nodes += 1 if interior else -1
    return Tree(np.array(column, np.int32), np.array(threshold), np.array(probability))


def decode(
    top: list[int] | NDArray[Any], par: list[float] | NDArray[Any], n_columns: int = 6, n_classes: int = 2
) -> Tree:
    topology = np.array(top, np.int32) if isinstance(top, list) else top
    return decode_tree(topology, np.array(par) if isinstance(par, list) else par, n_columns, n_classes)


def test_stump_is_laid_out_breadth_first() -> None:
    tree = decode(STUMP, PARAMETERS)
    assert tree.column.tolist() == [4, -1, -1]
    assert tree.threshold.tolist() == [0.5, 0, 0]
    assert tree.probability.tolist() == [[0, 0], [1, 0], [0.25, 0.75]]
    assert tree.first_children().tolist() == [1, -1, -1]


@given(trees())
@settings(max_examples=100, deadline=None)
def test_encoding_and_decoding_give_the_tree_back(tree: Tree) -> None:
    n_classes = tree.probability.shape[1]
    for got, want in zip(decode_tree(*encode_tree(tree, 4), 4, n_classes), tree, strict=True):
        np.testing.assert_array_equal(got, want)


@given(trees(), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_encoded_tree_says_the_same_in_the_reference(tree: Tree, seed: int) -> None:
    n_classes = tree.probability.shape[1]
    theirs = load_golden_module("ref").Tree(*encode_tree(tree, 4), 4, n_classes, "tree")
    x = np.random.default_rng(seed).normal(size=(30, 4)).astype(np.float32)
    ours = forest_rows(join_trees([tree], [0], range(1, n_classes + 1), 4), x)
    want = load_golden_module("ref").Forests([[theirs]], range(n_classes), 4).predict(x)
    np.testing.assert_array_equal(ours, want)


def changed(values: list[Any], at: int, value: Any) -> list[Any]:
    return [*values[:at], value, *values[at + 1 :]]


@pytest.mark.parametrize(
    ("top", "par", "says"),
    [
        (changed(STUMP, 0, 5), PARAMETERS, r"header is \[5, 2\]"),
        (changed(STUMP, 1, 3), PARAMETERS, "header"),
        ([], PARAMETERS, "header"),
        (STUMP[:2], PARAMETERS, "header"),
        (STUMP[:6], PARAMETERS, "node 2 is cut off"),
        (STUMP[:-1], PARAMETERS, r"at 9, outside 2\.\.8"),
        (changed(STUMP, 4, 2), PARAMETERS, "node 2 is reached twice"),
        (changed(STUMP, 4, 9), PARAMETERS, "node 9 is reached twice"),
        (changed(STUMP, 4, -7), PARAMETERS, "at -7"),
        (changed(STUMP, 4, 0), PARAMETERS, "at 0"),
        (changed(STUMP, 5, 1_000_000), PARAMETERS, "at 1000000"),
        (changed(STUMP, 5, 2**31 - 1), PARAMETERS, "at 2147483647"),
        (changed(STUMP, 3, -1), PARAMETERS, "node 2 has its parameters out of range"),
        (changed(STUMP, 3, 7), PARAMETERS, "node 2 has its parameters out of range"),
        (changed(STUMP, 3, 2**31 - 1), PARAMETERS, "node 2 has its parameters out of range"),
        (changed(STUMP, 10, 6), PARAMETERS, "node 9 has its parameters out of range"),
        (STUMP, [], "parameters out of range"),
        (changed(STUMP, 6, -1), PARAMETERS, r"node 2 tests a column outside 0\.\.5"),
        (changed(STUMP, 6, 6), PARAMETERS, r"node 2 tests a column outside 0\.\.5"),
        (changed(STUMP, 2, 1), PARAMETERS, "type 0x1"),
        (changed(STUMP, 7, LEAF + 1), PARAMETERS, "type 0x40000001"),
        (changed(STUMP, 7, -1), PARAMETERS, "type -0x1"),
        (STUMP, changed(PARAMETERS, 1, np.nan), "node 2 has a threshold that is not finite"),
        (STUMP, changed(PARAMETERS, 1, -np.inf), "threshold"),
        (STUMP, changed(PARAMETERS, 3, np.nan), "node 7 is a leaf without valid probabilities"),
        (STUMP, changed(PARAMETERS, 6, -0.5), "node 9 is a leaf"),
        (STUMP, changed(PARAMETERS, 3, 0.0), "node 7 is a leaf"),
        (STUMP, changed(PARAMETERS, 3, np.inf), "node 7 is a leaf"),
        (STUMP, changed(PARAMETERS, 3, 1e300), "node 7 is a leaf"),  # infinite in float32
        (STUMP, changed(PARAMETERS, 3, 1e-50), "node 7 is a leaf"),  # 0 in float32
    ],
)
def test_damaged_tree_is_refused(top: list[int], par: list[float], says: str) -> None:
    with pytest.raises(ProjectError, match=says) as caught:
        decode(top, par)
    assert caught.value.code == "bad_forest"


@pytest.mark.parametrize(
    ("topology", "parameters"),
    [
        (None, np.array(PARAMETERS)),
        (np.array(STUMP), None),
        (np.array(STUMP, float), np.array(PARAMETERS)),
        (np.array(STUMP, np.uint32), np.array(PARAMETERS)),
        (np.array([STUMP]), np.array(PARAMETERS)),
        (np.array(2), np.array(PARAMETERS)),
        (np.array([b"a", b"b"]), np.array(PARAMETERS)),
        (np.array(STUMP), np.array(PARAMETERS, np.float32)),
        (np.array(STUMP), np.array([PARAMETERS])),
        (np.array(STUMP), np.array(PARAMETERS, object)),
    ],
)
def test_arrays_of_another_kind_are_refused(topology: NDArray[Any] | None, parameters: NDArray[Any] | None) -> None:
    with pytest.raises(ProjectError) as caught:
        decode_tree(topology, parameters, 6, 2)
    assert caught.value.code == "bad_forest"


@pytest.mark.parametrize("kind", ["<i8", ">i4", "<i4"])
def test_any_signed_integers_and_byte_order_are_read(kind: str) -> None:
    tree = decode(np.array(STUMP, kind), np.array(PARAMETERS, ">f8"))
    assert tree.threshold.dtype == np.dtype(float)
    assert tree.column.tolist() == [4, -1, -1]


def test_gaps_between_nodes_do_not_matter() -> None:
    top = [6, 2, 0, 0, 12, 9, 4, -5, -5, LEAF, 5, 77, LEAF, 2]
    assert decode(top, PARAMETERS).probability.tolist() == [[0, 0], [1, 0], [0.25, 0.75]]


def test_depth_is_up_to_the_file() -> None:
    """A chain: each node's first child is a leaf, the second the next node."""
    depth = 100_000
    at = 2 + 7 * np.arange(depth)
    top = np.full(2 + 7 * depth + 2, LEAF, np.int64)
    top[:2] = 6, 2
    for offset, value in enumerate([0, 0, 5, 7, 3, LEAF, 2]):
        top[at + offset] = at + value if offset in (2, 3) else value
    top[-2:] = LEAF, 5
    tree = decode(top, PARAMETERS)
    assert len(tree.column) == 2 * depth + 1
    assert decode_tree(*encode_tree(tree, 6), 6, 2).column.sum() == tree.column.sum()


def test_shared_parameters_cannot_fill_the_memory() -> None:
    """Every leaf points to the same row of 1000 probabilities."""
    interior = 1 << 15
    top = np.zeros(2 + 5 * interior + 2 * (interior + 1), np.int32)
    top[:2] = 1, 1000
    address = np.concatenate([2 + 5 * np.arange(interior), 2 + 5 * interior + 2 * np.arange(interior + 1)])
    top[address[:interior] + 2], top[address[:interior] + 3] = address[1 : 2 * interior : 2], address[2::2]
    top[address[interior:]] = LEAF
    with pytest.raises(ProjectError) as caught:
        decode_tree(top, np.ones(1001), 1, 1000)
    assert caught.value.code == "too_large"


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_noise_is_refused_or_makes_a_sound_tree(data: st.DataObject) -> None:
    top = list(STUMP)
    for _ in range(data.draw(st.integers(1, 4))):
        top[data.draw(st.integers(0, len(top) - 1))] = data.draw(st.integers(-2, 12) | st.just(LEAF))
    try:
        tree = decode(top, PARAMETERS)
    except ProjectError:
        return
    assert tree.first_children().max() < len(tree.column)
    assert ((tree.column >= -1) & (tree.column < 6)).all()
