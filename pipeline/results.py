"""What a prediction can give: names, channels and stored types of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import PlanError
from pipeline.project import Stage
from pipeline.suggestion import did_you_mean

OUTPUTS = ("probabilities", "segmentation", "uncertainty", "features")
STORED_TYPES = ("float32", "uint8", "uint16")


@dataclass(frozen=True)
class Result:
    """One result of a run.

    Parameters
    ----------
    name : str
        One of `OUTPUTS`.
    channels : tuple of str
        Names along c; empty for results without channels.
    dtype : str
        Type it is stored as.
    """

    name: str
    channels: tuple[str, ...]
    dtype: str

    @property
    def voxel_bytes(self) -> int:
        """Bytes of all channels of a voxel."""
        return max(len(self.channels), 1) * np.dtype(self.dtype).itemsize


def choose_results(
    outputs: Sequence[str], stored_type: str, stages: Sequence[Stage], n_channels: int, depth: int
) -> tuple[Result, ...]:
    """The results that were asked for.

    Parameters
    ----------
    outputs : sequence of str
        Any of `OUTPUTS`, each at most once.
    stored_type : str
        One of `STORED_TYPES`, for probabilities and uncertainty.
    stages : sequence of Stage
        Those that are evaluated; results are of the last.
    n_channels, depth : int
        Channels and planes of the raw data.

    Raises
    ------
    PlanError
        With the code ``output`` or ``dtype``.
    """
    for name in outputs:
        if name not in OUTPUTS:
            known = f"allowed are {', '.join(OUTPUTS)}{did_you_mean(name, OUTPUTS)}"
            raise PlanError(f"output {name!r}; {known}", code="output")
    if not outputs or len(set(outputs)) != len(outputs):
        raise PlanError(f"outputs {', '.join(outputs) or 'none'}; name at least one, each once", code="output")
    if stored_type not in STORED_TYPES:
        known = f"allowed are {', '.join(STORED_TYPES)}{did_you_mean(stored_type, STORED_TYPES)}"
        raise PlanError(f"type {stored_type!r}; {known}", code="dtype")
    if stored_type != "float32" and not {"probabilities", "uncertainty"} & set(outputs):
        raise PlanError(
            f"type {stored_type} is for probabilities and uncertainty; segmentation is always uint8, features float32",
            code="dtype",
        )
    last = stages[-1]
    seen = n_channels + sum(len(stage.class_names) for stage in stages[:-1])
    made = {
        "probabilities": lambda: Result("probabilities", last.class_names, stored_type),
        "segmentation": lambda: Result("segmentation", (), "uint8"),
        "uncertainty": lambda: Result("uncertainty", (), stored_type),
        "features": lambda: Result("features", last.features.names(seen, depth), "float32"),
    }
    return tuple(made[name]() for name in outputs)
