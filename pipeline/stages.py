"""Times of the stages inside a block task, as distributed's fine metrics: on its dashboard, and from the scheduler.

A worker has them in its `digests_total`, the scheduler those of all in its `cumulative_worker_metrics`, under the name
of the task up to its numbers, such as ``predict``.
"""

from __future__ import annotations

import contextlib
import sys


def timed(stage: str) -> contextlib.AbstractContextManager[object]:
    """Count the time of the context for a stage of the task that runs; nothing where no worker of Dask runs it.

    Parameters
    ----------
    stage : str
        Such as ``read``.
    """
    # Looked up and not imported: slices are computed without distributed, whose import takes as long as many of them.
    metrics = sys.modules.get("distributed.metrics")
    return contextlib.nullcontext() if metrics is None else metrics.context_meter.meter(stage)
