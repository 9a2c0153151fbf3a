"""What a job will cost, roughly, before anybody asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.analyses.analysis import Analysis
    from pipeline.jobs.request import JobRequest

ARCHIVE_RATE = 20e6  # bytes a second that an archive gives as a rule, over the internet


@dataclass(frozen=True)
class Estimate:
    """What a job costs.

    Parameters
    ----------
    voxels : int
        Of one channel.
    channels : int
        Channels that are read.
    bytes : int
        Read from the archive, decoded.
    seconds : float
        From its start to its end; generous.
    memory : int
        Bytes of one process that computes.
    """

    voxels: int
    channels: int
    bytes: int
    seconds: float
    memory: int


def estimate(request: JobRequest, analysis: Analysis, dtypes: Sequence[str], threads: int = 1) -> Estimate:
    """Estimate what a request costs.

    Parameters
    ----------
    request : JobRequest
    analysis : Analysis
        The one that it names.
    dtypes : sequence of str
        Of the channels that are read.
    threads : int
        That compute at a time.
    """
    size = request.voxels * sum(np.dtype(dtype).itemsize for dtype in dtypes)
    computing = analysis.seconds(request.shape, len(dtypes)) / max(threads, 1)
    largest = max(dtypes, key=lambda dtype: np.dtype(dtype).itemsize, default="uint8")
    memory = analysis.memory_bytes(request.shape, largest, threads)
    return Estimate(request.voxels, len(dtypes), size, computing + size / ARCHIVE_RATE, memory)
