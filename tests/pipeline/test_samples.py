from __future__ import annotations

import numpy as np
import pytest

from pipeline.samples import CLASS_COLORS, CLASS_NAMES, scribbles, tissue

SHAPE = (24, 64, 72)


def test_same_seed_gives_the_same_voxels() -> None:
    first, again, other = tissue(SHAPE), tissue(SHAPE), tissue(SHAPE, seed=1)
    np.testing.assert_array_equal(first.raw, again.raw)
    np.testing.assert_array_equal(first.truth, again.truth)
    assert not np.array_equal(first.raw, other.raw)


def test_classes_are_all_there_and_told_apart_by_brightness() -> None:
    sample = tissue(SHAPE)
    assert sample.raw.shape == sample.truth.shape == SHAPE
    assert sample.raw.dtype == sample.truth.dtype == np.uint8
    labels, counts = np.unique(sample.truth, return_counts=True)
    assert labels.tolist() == list(range(1, len(CLASS_NAMES) + 1))
    assert (counts > 0.005 * sample.truth.size).all()
    vessel, tissue_mean, membrane, nucleus = (sample.raw[sample.truth == label].mean() for label in labels)
    assert vessel < tissue_mean < nucleus < membrane
    assert len(CLASS_COLORS) == len(CLASS_NAMES)


@pytest.mark.parametrize("seed", [0, 3])
def test_strokes_stay_inside_their_class(seed: int) -> None:
    truth = tissue(SHAPE).truth
    drawn = scribbles(truth, 5, seed)
    assert np.unique(drawn).tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(drawn[drawn > 0], truth[drawn > 0])
    assert (drawn > 0).sum() <= 4 * 5 * 12
    np.testing.assert_array_equal(drawn, scribbles(truth, 5, seed))


def test_class_without_an_inside_is_drawn_on_all_the_same() -> None:
    truth = np.ones((3, 16, 16), np.uint8)
    truth[1, 8, 3] = 2
    assert (scribbles(truth, 2) == 2).sum() == 1
