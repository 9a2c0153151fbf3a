"""The tree of merges: every block once, few nodes, few levels."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from pipeline.label_tree import FACE_STEPS, FULL_STEPS, GROUP, Tree

GRIDS = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))


@given(GRIDS)
def test_few_nodes_and_few_levels(grid: tuple[int, int, int]) -> None:
    tree = Tree(tuple(3 * n - 1 for n in grid), (3, 3, 3))  # type: ignore[arg-type]
    n = math.prod(grid)
    assert tree.grids[0] == grid
    assert tree.n_nodes(tree.top) == 1
    assert tree.n_merges <= max(n / 8, 1)
    assert tree.top <= max(math.ceil(math.log(n, 8)), 1)


@given(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)))
def test_each_node_has_one_parent(grid: tuple[int, int, int]) -> None:
    tree = Tree(grid, (1, 1, 1))
    for level in range(1, tree.top + 1):
        children = [(child, node) for node in range(tree.n_nodes(level)) for child in tree.children(level, node)]
        assert sorted(child for child, _ in children) == list(range(tree.n_nodes(level - 1)))
        assert all(tree.parent(level - 1, child) == node for child, node in children)
        assert max(len(tree.children(level, node)) for node in range(tree.n_nodes(level))) <= GROUP


def test_planes_boxes_and_neighbours() -> None:
    tree = Tree((10, 11, 12), (4, 5, 6))
    assert tree.grids == ((3, 3, 2), (1, 1, 1))
    assert (tree.start(17), tree.stop(17)) == ((8, 10, 6), (10, 11, 12))
    assert tree.planes(1, 0) == (0, 10)
    assert tree.planes(0, 17) == (8, 10)
    assert len(list(tree.neighbours(8, FACE_STEPS))) == 5
    assert len(list(tree.neighbours(8, FULL_STEPS))) == 17
    assert len(FULL_STEPS) == 13
    assert {(there, sign) for _, sign, there in tree.neighbours(0, FACE_STEPS)} == {(1, 1), (2, 1), (6, 1)}
