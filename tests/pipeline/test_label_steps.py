"""The tasks of labelling, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import label_steps
from pipeline.labelling import label_frame
from tests.labelling_runs import SHARP, Canvas, plan_of
from tests.objects import ArraySource

Array = npt.NDArray[Any]


def test_tasks_may_come_in_any_order_and_twice(tmp_path: Path) -> None:
    prob = np.random.default_rng(6).random((1, 1, 9, 17, 13), np.float32)
    plan = plan_of(prob, (1, 3, 4, 4), replace(SHARP, low=0.6), connectivity="full")
    expected = label_frame(prob[0], plan.rules.thresholding, connectivity="full")[0]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        work = label_steps.Work(plan.image, plan.tree, plan.rules, plan.smoother, tmp_path / str(seed))
        canvas = Canvas(tmp_path / f"canvas-{seed}", plan.image.shape)
        for level in range(plan.tree.top + 1):
            places = list(work.places(level))
            for i in rng.permutation(len(places) * 2) % len(places):
                if level:
                    label_steps.merge(work, places[i])
                else:
                    label_steps.label(work, ArraySource(prob), places[i])
        parts = work.parts()
        for part in parts:
            label_steps.sort(work, part)
        for i in rng.permutation(plan.n_blocks):
            label_steps.relabel(work, parts, canvas.write, list(work.places(0))[i])
        np.testing.assert_array_equal(canvas.labels[0], expected)
