"""Labelling maps in memory through the files of a run; shared by tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from distributed import Client

from pipeline import labelling
from pipeline.blocks import Box
from pipeline.errors import PlanError
from pipeline.labelling import LabelPlan, label_volume, plan_labels
from pipeline.progress import Event, Progress
from pipeline.thresholding import Thresholding
from tests.objects import ArraySource

Array = npt.NDArray[Any]
SHARP = Thresholding(sigma_zyx=(0.0, 0.0, 0.0), min_size=0, max_size=10**9)


@dataclass(frozen=True)
class Canvas:
    """A file that blocks of labels are written to; picklable. Writing fails after so many blocks, if asked to."""

    folder: Path
    shape: tuple[int, ...]
    fail_after: int | None = None

    @property
    def labels(self) -> Array:
        """All that is written, 0 elsewhere."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "labels.raw"
        return np.memmap(path, np.uint64, "r+" if path.exists() else "w+", shape=self.shape)

    def written(self, box: Box) -> bool:
        """Whether a block was written."""
        return (self.folder / str(box)).exists()

    def count(self) -> int:
        """How many blocks were written."""
        return len(list(self.folder.glob("t=*")))

    def write(self, box: Box, labels: npt.NDArray[np.uint64]) -> None:
        if self.fail_after is not None and self.count() >= self.fail_after:
            raise PlanError("the disk is full")
        self.labels[box.slices()] = labels
        (self.folder / str(box)).touch()


def run_labelling(
    client: Client,
    prob: Array,
    plan: LabelPlan,
    folder: Path,
    canvas: Canvas | None = None,
    key: str = "k",
    **options: Any,
) -> tuple[Array, labelling.LabelSummary, list[Event]]:
    """Labels (t, z, y, x) of a map (t, c, z, y, x), through the files of `label_volume`."""
    events: list[Event] = []
    canvas = canvas or Canvas(folder.with_name(f"{folder.name}-canvas"), plan.image.shape)
    assert canvas.labels.size
    summary = label_volume(
        client,
        ArraySource(prob),
        plan,
        folder,
        canvas.write,
        key=f"{key}-{folder}",
        progress=Progress(events.append),
        **options,
    )
    return canvas.labels, summary, events


def plan_of(prob: Array, block: tuple[int, ...], thresholding: Thresholding, **options: Any) -> LabelPlan:
    image = Box.whole((len(prob), *prob.shape[2:]))
    return plan_labels(image, block, thresholding, n_channels=prob.shape[1], **options)
