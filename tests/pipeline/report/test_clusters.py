"""Clusters of scores: found where there are some, the same each time, each detection in one."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.report.clusters import draw_clusters, draw_pairs, find_clusters
from pipeline.report.detections import Detections, Floats, Space
from tests import detections

SPACE = Space(detections.SHAPE, detections.SPACING, (0, 0, 0), "micrometer")


def heaps(sizes: tuple[int, ...], channels: int = 4) -> Floats:
    """Heaps of rows, each around another place."""
    rng = np.random.default_rng(0)
    places = 12.0 * np.arange(len(sizes))[:, None] * np.eye(channels)[np.arange(len(sizes)) % channels]
    return np.concatenate([rng.normal(place, 1, (n, channels)) for place, n in zip(places, sizes, strict=True)])


def test_three_heaps_are_found() -> None:
    sizes = (200, 120, 60)
    scores = heaps(sizes)
    leaves = list(find_clusters(scores).leaves())
    assert sorted(len(leaf.rows) for leaf in leaves) == sorted(sizes)
    assert sorted(np.concatenate([leaf.rows for leaf in leaves]).tolist()) == list(range(sum(sizes)))
    again = list(find_clusters(scores).leaves())
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(leaves, again, strict=True))


def test_larger_part_comes_first_and_names_tell_the_way() -> None:
    root = find_clusters(heaps((50, 300)))
    assert [(part.name, len(part.rows)) for part in root.parts] == [("1", 300), ("2", 50)]
    assert root.name == ""


@pytest.mark.parametrize("n", [0, 1, 5, 400])
def test_one_heap_stays_whole(n: int) -> None:
    root = find_clusters(np.random.default_rng(1).normal(size=(n, 4)))
    assert [leaf.name for leaf in root.leaves()] == [""]


def test_many_are_assigned_though_some_are_fitted() -> None:
    scores = heaps((9000, 6000), 2)
    assert [len(part.rows) for part in find_clusters(scores, levels=1).parts] == [9000, 6000]


def test_drawn_clusters_hold_the_class_that_differs() -> None:
    table = detections.make_table(600)
    table.loc[table["class"] == "GABA", "sum_GABA"] += 2000
    drawn = draw_clusters(Detections.of(table, SPACE))
    assert "cluster 1" in drawn
    assert ">100.0%<" in drawn
    assert "no clusters" in draw_clusters(Detections.of(table.iloc[:3], SPACE))


def test_pairs_are_of_the_channels_that_tell_classes_apart() -> None:
    table = detections.make_table(2000, channels=("a", "b", "c", "d"))
    table["sum_d"] += np.where(table["class"] == "edge", 500, 0)
    drawn = draw_pairs(Detections.of(table, SPACE))
    assert "Scores of a against d" in drawn
    assert "1,000 of" in drawn
    assert draw_pairs(Detections.of(table.iloc[:1], SPACE)) == ""
