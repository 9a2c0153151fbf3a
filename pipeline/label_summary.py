"""What became of the objects of a map, in numbers and in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.components import COUNTS, Numbers, Rules


@dataclass(frozen=True)
class LabelSummary:
    """How many objects there are, and why others are not among them.

    Parameters
    ----------
    objects : tuple of int
        That have an id, by time step.
    found, kept : int
        Of all time steps: before anything was removed, and after.
    without_core, too_small, too_large : int
        Objects that were removed.
    cores_too_small, cores_too_large : int
        Cores that did not count.
    rules : Rules
        What decided it.
    """

    objects: tuple[int, ...]
    found: int
    kept: int
    without_core: int
    too_small: int
    too_large: int
    cores_too_small: int
    cores_too_large: int
    rules: Rules

    def __str__(self) -> str:
        """A sentence for the person."""
        used = self.rules.thresholding
        removed = [(self.too_small, f"below {used.min_size} voxels"), (self.too_large, f"above {used.max_size} voxels")]
        if used.hysteresis:
            limits = f"{self.cores_too_small} cores below and {self.cores_too_large} above these sizes do not count"
            removed.insert(0, (self.without_core, f"without a core ({limits})"))
        return f"{self.kept} of {self.found} objects; removed: " + ", ".join(f"{n} {why}" for n, why in removed)


def summarise(counts: Sequence[Numbers], rules: Rules) -> LabelSummary:
    """The summary of time steps, from their counts by `COUNTS`."""
    kept = COUNTS.index("kept")
    total = dict(zip(COUNTS, np.sum(counts, axis=0).tolist(), strict=True))
    return LabelSummary(tuple(int(frame[kept]) for frame in counts), rules=rules, **total)
