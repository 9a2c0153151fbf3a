"""Otsu's threshold with whole numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from pipeline.analyses.channels import ChannelSet
from pipeline.analyses.detection import BINS, CovarianceMap, otsu_bin
from pipeline.analyses.original import OriginalMap
from pipeline.analyses.statistics import Moments, Pair

ONE = Moments(4, 4, 8)


def make_map() -> CovarianceMap:
    volumes = ChannelSet.of({"a": np.zeros((2, 2, 2), np.uint8), "b": np.zeros((2, 2, 2), np.uint8)})
    return CovarianceMap(Pair(volumes, ("a", "b")), (ONE, ONE))


def variance(counts: list[int], at: int) -> Fraction:
    """Between the two classes, from its definition."""
    parts = [[(k, n) for k, n in enumerate(counts) if (k > at) == above] for above in (False, True)]
    weights = [sum(n for _, n in part) for part in parts]
    means = [Fraction(sum(k * n for k, n in part), w) for part, w in zip(parts, weights, strict=True)]
    return weights[0] * weights[1] * (means[0] - means[1]) ** 2


@given(st.integers(1, 10**12), st.lists(st.integers(0, 10**12), max_size=20), st.integers(1, 10**12))
def test_bin_of_largest_variance_the_first_of_several(first: int, middle: list[int], last: int) -> None:
    counts = [first, *middle, last]
    found = otsu_bin(counts)
    every = [variance(counts, k) for k in range(len(counts) - 1)]
    assert found == every.index(max(every))


@given(st.lists(st.integers(-5000, 5000), min_size=20, max_size=200))
def test_as_skimage_has_it_up_to_ties_in_single_precision(values: list[int]) -> None:
    low, high = min(values), max(values)
    if high - low < BINS:
        return
    work, codes = make_map(), np.array(values, np.int32)
    counts = [int(n) for n in work.count(codes, low, high)]
    above = work.find_threshold(low, high, counts).above
    theirs = int((threshold_otsu(codes.astype(float)) - low) * BINS / (high - low))
    ours = otsu_bin(counts)
    assert ours == theirs or float(variance(counts, ours) / variance(counts, theirs)) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(codes > above, [v > low + Fraction((2 * ours + 1) * (high - low), 2 * BINS) for v in values])


def test_above_one_value_there_is_nothing() -> None:
    assert make_map().find_threshold(5, 5, ()).above == 5
    volumes = make_map().pair
    assert OriginalMap(volumes, (ONE, ONE)).find_threshold(0.5, 0.5, ()).above == 0.5


def test_moments() -> None:
    values = [3, 5, 5, 250]
    found = Moments(4, sum(values), sum(v * v for v in values))
    assert found.mean == np.mean(values)
    assert found.deviation == pytest.approx(float(np.std(values)), rel=1e-15)
    huge = 2**64 - 1
    assert Moments(10**9, huge * 10**9, huge**2 * 10**9).deviation == 0
