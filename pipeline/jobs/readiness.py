"""Whether the workers of a scheduler can run the pipelines: each has to be installed there too."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cluster import LOCAL_NAMES, connect
from pipeline.errors import ClusterError, PipelineError


def check_workers(scheduler: str, pipelines: Sequence[str]) -> None:
    """Load pipelines on all workers of a running scheduler; workers that are started here have what is here.

    Parameters
    ----------
    scheduler : str
        As in `pipeline.cluster.connect`.
    pipelines : sequence of str
        Names of analyses.

    Raises
    ------
    AnalysisError
        If one cannot be loaded here.
    ClusterError
        With the code ``pipeline``, if a worker cannot load one; as `pipeline.cluster.connect` does.
    """
    from pipeline.analyses import get

    for name in pipelines:
        get(name)
    if scheduler in LOCAL_NAMES:
        return
    with connect(scheduler) as client:
        for name in pipelines:
            answers = client.run(_load, name, on_error="ignore")
            missing = {address: text for address, text in answers.items() if text}
            if missing:
                address, text = next(iter(missing.items()))
                raise ClusterError(
                    f"The pipeline {name} cannot be loaded on {len(missing)} of {len(answers)} workers of {scheduler}, "
                    f"such as {address}: {text}. Install the same packages there.",
                    code="pipeline",
                )


def _load(name: str) -> str | None:
    """Runs on a worker: why an analysis cannot be loaded, None if it can."""
    from pipeline.analyses import get

    try:
        get(name)
    except PipelineError as error:
        return error.message
    return None
