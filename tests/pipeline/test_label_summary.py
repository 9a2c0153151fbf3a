"""What became of objects, in numbers and words."""

from __future__ import annotations

import numpy as np

from pipeline.components import Rules
from pipeline.label_summary import summarise
from pipeline.labelling import label_frame
from pipeline.thresholding import Thresholding

SHARP = (0.0, 0.0, 0.0)


def test_every_object_is_counted_once() -> None:
    line = [9, 9, 0, 9, 0, 6, 6, 6, 0, 9, 9, 9, 9, 0, 9, 6, 6, 6]
    prob = np.array(line, np.float32).reshape(1, 1, 1, -1) / 10
    used = Thresholding("hysteresis", high=0.9, sigma_zyx=SHARP, min_size=2, max_size=3)
    labels, summary = label_frame(prob, used)
    np.testing.assert_array_equal(labels.ravel(), [1, 1] + [0] * 16)
    assert (summary.found, summary.kept, summary.without_core) == (5, 1, 4)
    assert (summary.cores_too_small, summary.cores_too_large) == (2, 1)
    assert str(summary) == (
        "1 of 5 objects; removed: 4 without a core (2 cores below and 1 above these sizes do not count), "
        "0 below 2 voxels, 0 above 3 voxels"
    )


def test_time_steps_are_added() -> None:
    rules = Rules(Thresholding(sigma_zyx=SHARP, min_size=2, max_size=3))
    summary = summarise([np.array([5, 0, 2, 1, 2, 0, 0]), np.array([3, 0, 0, 0, 3, 0, 0])], rules)
    assert summary.objects == (2, 3)
    assert str(summary) == "5 of 8 objects; removed: 2 below 2 voxels, 1 above 3 voxels"
