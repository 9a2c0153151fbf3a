"""Whether the workers of a scheduler can run the pipelines: each has to be installed there too."""

from __future__ import annotations

from pipeline.cluster import REMOTE_SCHEMES, connect
from pipeline.errors import ClusterError, PipelineError


def check_workers(scheduler: str, pipeline: str) -> None:
    """Load a pipeline on all workers of a running scheduler; workers that are started here have what is here.

    Parameters
    ----------
    scheduler : str
        As in `pipeline.cluster.connect`.
    pipeline : str
        Name of an analysis.

    Raises
    ------
    AnalysisError
        If it cannot be loaded here.
    ClusterError
        With the code ``pipeline``, if a worker cannot load it; as `pipeline.cluster.connect` does.
    """
    from pipeline.analyses import get

    get(pipeline)
    if not scheduler.startswith(REMOTE_SCHEMES):
        return
    with connect(scheduler) as client:
        answers = client.run(_load, pipeline, on_error="ignore")
    missing = {address: text for address, text in answers.items() if isinstance(text, str)}
    if missing:
        address, text = next(iter(missing.items()))
        raise ClusterError(
            f"The pipeline {pipeline} cannot be loaded on {len(missing)} of {len(answers)} workers of {scheduler}, "
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
