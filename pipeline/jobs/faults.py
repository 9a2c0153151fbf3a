"""What an error means for a job: that it has failed, that it may be tried again, or that it needs a token."""

from __future__ import annotations

from typing import Literal

from pipeline.errors import ClusterError, PipelineError, StoreError, TokenError, TransientArchiveError

Meaning = Literal["passes", "token", "stays"]
LONGEST_REASON = 1000  # characters
PASSING_CODES = ("locked", "bucket")  # of stores
FINAL_CODES = ("versions", "pipeline")  # of clusters: no pause helps against these


def judge(error: BaseException) -> Meaning:
    """Whether another attempt could help, or a token, or neither.

    Examples
    --------
    >>> judge(TransientArchiveError("no answer"))
    'passes'
    >>> judge(TokenError("expired"))
    'token'
    >>> judge(ValueError("a mistake of ours"))
    'stays'
    """
    if isinstance(error, TokenError):
        return "token"
    if isinstance(error, TransientArchiveError):
        return "passes"
    if isinstance(error, ClusterError):
        return "stays" if error.code in FINAL_CODES else "passes"
    if isinstance(error, StoreError):  # a full disk stays full; a folder that somebody else writes is let go of
        return "passes" if error.code in PASSING_CODES else "stays"
    if isinstance(error, PipelineError) or not isinstance(error, Exception):
        return "stays"
    from_dask = type(error).__module__.split(".")[0] == "distributed"
    return "passes" if from_dask or isinstance(error, ConnectionError | TimeoutError) else "stays"


def explain(error: BaseException) -> str:
    """Why a job failed or waits, for the person who asked for it."""
    if isinstance(error, PipelineError):
        text = error.message
    elif isinstance(error, MemoryError):
        text = "memory ran out: a smaller VOXELFOREST_TASK_MEMORY, fewer workers or smaller ranges help"
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = f"this should not happen: {type(error).__name__}: {error}"
    return text[:LONGEST_REASON]
