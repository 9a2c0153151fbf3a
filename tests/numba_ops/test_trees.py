"""Packing of forests."""

from __future__ import annotations

import math

import numpy as np
import pytest

from numba_ops.trees import BRICK, Trees, pack
from numba_ops.trees import LEAF as LEAF_BIT

LEAF = int(LEAF_BIT)


def _pack(leaves: list[tuple[float, float]], threshold: float = 0.5) -> Trees:
    """A stump on column 3, and in another group a tree that is a leaf."""
    return pack(
        column=np.array([3, -1, -1, -1], np.int32),
        threshold=np.array([threshold, 0, 0, 0]),
        left=np.array([1, -1, -1, -1], np.int32),
        probability=np.array([(0, 0), *leaves]),
        roots=np.array([0, 3], np.int32),
        group=np.array([0, 4], np.int32),
        columns=5,
    )


def _kids(trees: Trees) -> list[tuple[int, int]]:
    return [(kids & 0xFFFFFFFF, kids >> 32) for kids in trees.nodes["kids"].tolist()]


def test_forest_that_votes() -> None:
    trees = _pack([(0, 1), (1, 0), (1, 0)])
    assert trees.nodes.dtype.itemsize == 16
    assert trees.nodes["place"].tolist() == [3 * BRICK, 0]
    assert trees.roots.tolist() == [0, 1]
    assert trees.groups.tolist() == [0, 1, 2]
    assert trees.plain
    assert trees.votes
    assert trees.slots.tolist() == [0, 1, 2, 3, 3]
    assert _kids(trees) == [(LEAF | 1, LEAF), (LEAF | 2, LEAF | 2)]


@pytest.mark.parametrize(("leaf", "plain"), [((0.25, 0.75), True), ((2, 0), False), ((0.5, 0), False)])
def test_forest_that_does_not_vote(leaf: tuple[float, float], plain: bool) -> None:
    trees = _pack([(0, 1), leaf, (1, 0)])
    assert (trees.plain, trees.votes) == (plain, False)
    assert trees.tree.tolist() == [0, 0, 1]
    assert trees.total.tolist() == [1, sum(leaf), 1]
    assert _kids(trees) == [(LEAF, LEAF | 1), (LEAF | 2, LEAF | 2)]


@pytest.mark.parametrize("threshold", [0.5, 0.1, -0.1, 1 / 3, 1e-300, -1e-300, 1e300, 16777217.0])
def test_thresholds_decide_alike_for_every_float32(threshold: float) -> None:
    packed = _pack([(0, 1), (1, 0), (1, 0)], threshold).nodes["threshold"][0]
    assert packed.astype(float) >= threshold
    assert np.nextafter(packed, np.float32(-math.inf)).astype(float) < threshold
