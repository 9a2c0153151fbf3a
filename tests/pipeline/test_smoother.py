"""Masks of parts are parts of the whole's masks, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.blocks import Box
from pipeline.errors import PlanError
from pipeline.smoother import gaussian_taps, make_smoother
from pipeline.thresholding import Thresholding
from tests.oracles import load_golden_module


@given(data=st.data())
def test_any_part_has_the_bits_of_the_whole(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.sampled_from([1, 5, 9]), st.integers(5, 20), st.integers(5, 20)))
    sigma = data.draw(st.sampled_from([(0.0, 0.0, 0.0), (0.3, 0.6, 1.0), (1.0, 1.3, 0.7)]))
    prob = np.random.default_rng(data.draw(st.integers(0, 99))).random((2, *shape), np.float32)
    level = float(np.median(prob))
    settings = Thresholding(
        "hysteresis",
        0,
        data.draw(st.integers(0, 1)),
        2 * level,
        2 * level,
        sigma,
        window=data.draw(st.sampled_from([2.0, 3.0])),
    )
    smoother = make_smoother(settings, 2, shape)
    mask, cores = smoother.masks(prob, (0, 0, 0), shape)
    start = [data.draw(st.integers(0, n - 1)) for n in shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)]
    whole, box = Box.whole((1, *shape)), Box((0, *start), (1, *stop))  # type: ignore[arg-type]
    outer = box.grow(settings.halo_zyx(shape), whole)
    part, part_cores = smoother.masks(prob[(slice(None), *outer.slices()[1:])], start, stop)
    np.testing.assert_array_equal(part, mask[box.slices()[1:]])
    assert cores is not None
    assert part_cores is not None
    np.testing.assert_array_equal(part_cores, cores[box.slices()[1:]])


def test_values_equal_to_a_threshold() -> None:
    prob = np.array([0.1, 0.7, 0.9], np.float32).reshape(1, 1, 1, 3)
    off = (0.0, 0.0, 0.0)
    for strict, expected in ((False, [0, 1, 1]), (True, [0, 0, 1])):
        settings = Thresholding(strict=strict, low=0.7, sigma_zyx=off)
        mask, cores = make_smoother(settings, 1, (1, 1, 3)).masks(prob, (0, 0, 0), (1, 1, 3))
        np.testing.assert_array_equal(mask[0, 0], expected)
        assert cores is None


def test_a_range_of_other_numbers() -> None:
    stored = np.array([[0, 127, 128, 255]], np.uint8).reshape(1, 1, 1, 4)
    settings = Thresholding(drange=(0.0, 255.0), sigma_zyx=(0.0, 0.0, 0.0))
    mask, _ = make_smoother(settings, 1, (1, 1, 4)).masks(stored, (0, 0, 0), (1, 1, 4))
    np.testing.assert_array_equal(mask[0, 0], [0, 0, 1, 1])


def test_no_value_is_no_object() -> None:
    prob = np.full((1, 1, 1, 4), np.nan, np.float32)
    assert not make_smoother(Thresholding(), 1, (1, 1, 4)).masks(prob, (0, 0, 0), (1, 1, 4))[0].any()


def test_taps_are_those_of_the_reference() -> None:
    impulse = np.zeros(41, np.float32)
    impulse[20] = 1
    for sigma, radius in ((0.3, 1), (1.0, 2), (4.0, 8)):
        expected = load_golden_module("ref").smooth_double(impulse, [sigma])
        np.testing.assert_array_equal(
            gaussian_taps(sigma, radius).astype(np.float32), expected[20 - radius : 21 + radius]
        )


def test_an_image_that_is_too_small() -> None:
    with pytest.raises(PlanError, match="the image has 2 voxels along y, but smoothing with sigma 1 needs more than 2"):
        make_smoother(Thresholding(), 1, (1, 2, 50))
    assert make_smoother(Thresholding(), 1, (1, 3, 3)).taps[0].size == 0
