"""The made synapses, and a classifier that is trained on them and meets others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline import synapse_samples
from pipeline.analyses.model import CHANNELS, HALF_WIDTHS
from pipeline.analyses.model_training import train_model


def test_sample_is_seeded_and_bright_where_it_says() -> None:
    sample = synapse_samples.synapses((24, 48, 48), seed=3)
    again = synapse_samples.synapses((24, 48, 48), seed=3)
    assert all(np.array_equal(sample.channels[name], again.channels[name]) for name in CHANNELS)
    assert tuple(sample.channels) == CHANNELS == synapse_samples.CHANNELS
    assert len(sample.places) >= 8
    at = tuple(sample.places.T)
    assert np.median(sample.channels["PSD"][at]) > 5 * np.median(sample.channels["PSD"])
    gaba = sample.classes == 2
    assert np.median(sample.channels["GABA"][at][gaba]) > 3 * np.median(sample.channels["GABA"][at][~gaba])


def test_trained_model_classifies_other_synapses() -> None:
    cubes, classes = synapse_samples.synapses((48, 96, 96), seed=1).cut_cubes(HALF_WIDTHS)
    model = train_model(cubes, classes, class_names=synapse_samples.CLASS_NAMES, seed=5)
    again = train_model(cubes, classes, class_names=synapse_samples.CLASS_NAMES, seed=5)
    assert again.digest == model.digest
    others, truth = synapse_samples.synapses((40, 96, 96), seed=2).cut_cubes(HALF_WIDTHS)
    assert len(truth) > 20
    assert (model.classify(others) == truth).mean() > 0.9


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cubes": np.zeros((4, 8, 2, 3, 3), np.uint8)}, "odd edges"),
        ({"cubes": np.zeros((4, 8, 3, 3, 3))}, "odd edges"),
        ({"classes": np.array([1, 2])}, "for 2 classes"),
        ({"classes": np.array([1, 1, 1, 1])}, "not all of 1 to 2"),
        ({"components": 9}, "do not have 9 components"),
        ({"channels": ("a",)}, "1 names"),
    ],
)
def test_what_cannot_be_trained_on(change: dict[str, Any], says: str) -> None:
    given: dict[str, Any] = {
        "cubes": np.ones((4, 8, 3, 3, 3), np.uint8),
        "classes": np.array([1, 2, 1, 2]),
        "class_names": ("a", "b"),
    }
    with pytest.raises(ValueError, match=says):
        train_model(**(given | change))
