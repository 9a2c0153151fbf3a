"""Objects of a block: what is decided at once, and what stays open."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.components import COUNTS, OPEN, REMOVED, Objects, Rules, decide, label_block, meet, number, rename
from pipeline.label_tree import Tree
from pipeline.thresholding import Thresholding

SHARP = Thresholding(sigma_zyx=(0.0, 0.0, 0.0), min_size=2, max_size=5)
HYSTERESIS = Thresholding("hysteresis", sigma_zyx=(0.0, 0.0, 0.0), min_size=2, max_size=5)


def _objects(**changes: object) -> Objects:
    """Four objects of 1, 3, 9 and 4 voxels, the last one open."""
    plain = {
        "sizes": np.array([1, 3, 9, 4]),
        "firsts": np.array([70, 30, 50, 10]),
        "cored": np.ones(4, bool),
        "is_open": np.array([False, False, False, True]),
        "core_sizes": np.empty(0, np.int64),
        "core_is_open": np.empty(0, bool),
        "pairs": np.empty((0, 2), np.int64),
    }
    return Objects(**{**plain, **changes})  # type: ignore[arg-type]


def test_what_is_complete_is_decided_by_size() -> None:
    piece = decide(_objects(), Rules(SHARP))
    np.testing.assert_array_equal(piece.fate, [REMOVED, 30, REMOVED, OPEN])
    np.testing.assert_array_equal(piece.listed, [30])
    np.testing.assert_array_equal(decide(_objects(), Rules(SHARP, renumber=False)).listed, [30, 50, 70])
    assert dict(zip(COUNTS, piece.counts.tolist(), strict=True)) == {
        "found": 3, "without_core": 0, "too_small": 1, "too_large": 1, "kept": 1, "cores_too_small": 0,
        "cores_too_large": 0,
    }  # fmt: skip
    assert (piece.sizes.tolist(), piece.firsts.tolist()) == ([4], [10])


def test_an_object_waits_for_a_core_that_may_still_grow() -> None:
    cores = {
        "cored": np.zeros(4, bool),
        "core_sizes": np.array([3, 1, 1]),
        "core_is_open": np.array([False, True, False]),
        "pairs": np.array([[0, 0], [1, 1], [1, 0], [2, 2]]),
    }
    piece = decide(_objects(**cores), Rules(HYSTERESIS))
    # Object 0 has a good core and needs no other, 1 waits for core 1, the only core of 2 is too small, 3 is open.
    np.testing.assert_array_equal(piece.fate, [REMOVED, OPEN, REMOVED, OPEN - 1])
    np.testing.assert_array_equal(piece.core_fate, [REMOVED, OPEN, REMOVED])
    np.testing.assert_array_equal(piece.pairs, [[0, 0]])
    counts = dict(zip(COUNTS, piece.counts.tolist(), strict=True))
    assert (counts["without_core"], counts["too_small"], counts["cores_too_small"]) == (1, 1, 1)


def test_a_block_knows_its_place_and_its_faces() -> None:
    tree = Tree((8, 8, 8), (4, 4, 4))
    mask = np.zeros((4, 4, 4), bool)
    mask[1, 1:3, 1] = mask[3, 3, :2] = True
    found = label_block(mask, None, tree, 7, Rules(SHARP))
    assert found.piece.fate.tolist() == [(5 * 8 + 5) * 8 + 5, OPEN]
    assert list(found.faces) == ["x-"]  # it is the last block along each axis
    assert found.faces["x-"][3, 3] == 2
    assert label_block(mask, None, Tree((4, 4, 4), (4, 4, 4)), 0, Rules(SHARP)).faces == {}


@pytest.mark.parametrize("shape", [(1, 1, 5), (9, 1, 9), (5, 5, 5)])
def test_every_other_voxel_is_an_object_of_its_own(shape: tuple[int, int, int]) -> None:
    mask = (np.indices(shape) % 2 == 0).all(axis=0)
    found = label_block(mask, None, Tree(shape, shape), 0, Rules(SHARP, "full"))
    np.testing.assert_array_equal(found.labels[mask], np.arange(1, mask.sum() + 1))


def test_meetings_numbers_and_names() -> None:
    left, right = np.array([[1, 1, 0, 2]], np.uint32), np.array([[3, 3, 4, 0]], np.uint32)
    np.testing.assert_array_equal(meet(left, right, 0), [[1, 3]])
    np.testing.assert_array_equal(meet(left, right, 1), [[1, 3], [1, 4], [2, 4]])
    ids = number(np.array([30, REMOVED, 7]), np.array([7, 12, 30]))
    np.testing.assert_array_equal(ids, [3, 0, 1])
    np.testing.assert_array_equal(rename(np.array([[0, 1], [2, 3]], np.uint32), ids), [[0, 3], [0, 1]])
