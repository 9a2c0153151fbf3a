"""Numbers of the report, against NumPy, SciPy and formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.report.detections import Detections, Space
from pipeline.report.drawing import ticks
from pipeline.report.statistics import (
    choose_representatives,
    correlate,
    estimate_density,
    explained_variance,
    measure_neighbours,
    order_alike,
)
from tests import detections


@pytest.mark.parametrize("n", [2, 10, 500, 20_000])
def test_density_is_that_of_a_gaussian_kernel(n: int) -> None:
    scores = np.random.default_rng(n).normal(0, 1, n)
    places, density = estimate_density(scores)
    kernel = stats.gaussian_kde(scores, bw_method=lambda k: k.n**-0.2 * scores.std() / scores.std(ddof=1))
    np.testing.assert_allclose(density, kernel(places), atol=0.01 * density.max())
    assert density.max() > 0.1


def test_correlation_is_pearsons_and_0_where_nothing_varies() -> None:
    scores = np.random.default_rng(0).normal(size=(200, 4))
    scores[:, 1] += scores[:, 0]
    np.testing.assert_allclose(correlate(scores), np.corrcoef(scores.T), atol=1e-12)
    scores[:, 2] = 0.1
    assert np.array_equal(correlate(scores)[2], np.zeros(4))
    assert correlate(scores)[0, 0] == pytest.approx(1)


def test_scores_have_mean_0_and_deviation_1() -> None:
    table = detections.make_table(300)
    table["sum_PSD"] = 0.1
    found = Detections.of(table, Space(detections.SHAPE, detections.SPACING, (0, 0, 0), "micrometer"))
    assert 250 < len(found.measured) < 300
    scores = found.scores(found.measured)
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scores.std(axis=0), [1, 1, 0, 1], atol=1e-12)
    assert [g.name for g in found.groups] == ["all", "edge", "GABA", "non-GABA"]
    assert sorted(np.concatenate([g.rows for g in found.classes]).tolist()) == list(range(300))


def test_neighbours_of_places_without_order() -> None:
    rng = np.random.default_rng(0)
    edges = np.array([40.0, 40.0, 40.0])
    places = rng.uniform(0, edges, (20_000, 3))
    near = measure_neighbours(places, float(edges.prod()))
    brute = np.linalg.norm(places[:50, None] - places, axis=2)
    brute[np.arange(50), np.arange(50)] = np.inf
    np.testing.assert_allclose(near.distances[:50], brute.min(axis=1))
    assert near.distances.mean() == pytest.approx(near.expected, rel=0.03)  # borders add a little
    assert len(measure_neighbours(places[:1], 1.0).distances) == 0
    assert measure_neighbours(places[:2], 0.0).expected == 0


def test_scree_of_one_direction() -> None:
    column = np.random.default_rng(0).normal(size=(50, 1))
    shares = explained_variance(column @ np.ones((1, 3)))
    np.testing.assert_allclose(shares, [1, 0, 0], atol=1e-12)
    assert np.array_equal(explained_variance(np.zeros((5, 2))), np.zeros(2))


def test_representatives_are_seeded_and_spread() -> None:
    scores = np.random.default_rng(0).normal(size=(12_000, 3))
    chosen = choose_representatives(scores, 1000)
    assert np.array_equal(chosen, choose_representatives(scores, 1000))
    assert len(np.unique(chosen)) == len(chosen) <= 1000
    assert chosen.max() < len(scores)
    spread = [scores[rows].std() for rows in (chosen, np.arange(1000))]
    assert spread[0] > spread[1]
    assert np.array_equal(choose_representatives(scores[:7], 1000), np.arange(7))


def test_alike_rows_are_neighbours() -> None:
    scores = np.random.default_rng(0).permutation(np.linspace(-2, 2, 50))[:, None] * np.ones((1, 3))
    ordered = scores[order_alike(scores)][:, 0]
    assert (np.diff(ordered) > 0).all()


@given(low=st.floats(-1e6, 1e6), length=st.floats(1e-3, 1e6), most=st.integers(1, 12))
def test_ticks_are_round_and_inside(low: float, length: float, most: int) -> None:
    found = ticks(low, low + length, most)
    assert len(found) <= most + 2
    assert all(low - 1e-6 * length <= value <= low + 1.000001 * length for value in found)
    assert found == ticks(low + length, low, most)
