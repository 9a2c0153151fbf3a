"""A job as it is shown: its request, its state, how far it is, what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.jobs.request import JobRequest

QUEUED = "queued"
RUNNING = "running"
PUSHING = "pushing"
DONE = "done"
FAILED = "failed"
CANCELLED = "cancelled"
NEEDS_TOKEN = "needs token"

STATES = (QUEUED, RUNNING, PUSHING, DONE, FAILED, CANCELLED, NEEDS_TOKEN)
ACTIVE = (RUNNING, PUSHING)  # a runner has it, or had it when it died
ENDED = (DONE, FAILED, CANCELLED)

# From which state to which: the database refuses all others.
TRANSITIONS = (
    (QUEUED, RUNNING),
    (QUEUED, CANCELLED),
    (RUNNING, PUSHING),
    (RUNNING, DONE),  # where nothing is pushed
    (RUNNING, QUEUED),  # a fault that may pass, or a runner that was told to stop
    (RUNNING, NEEDS_TOKEN),
    (RUNNING, FAILED),
    (RUNNING, CANCELLED),
    (PUSHING, DONE),
    (PUSHING, QUEUED),
    (PUSHING, NEEDS_TOKEN),
    (PUSHING, FAILED),
    (PUSHING, CANCELLED),
    (NEEDS_TOKEN, QUEUED),
    (NEEDS_TOKEN, CANCELLED),
    (FAILED, QUEUED),  # started again by a person
    (FAILED, NEEDS_TOKEN),
    (CANCELLED, QUEUED),
    (CANCELLED, NEEDS_TOKEN),
    (DONE, QUEUED),  # its results were removed by hand
)


@dataclass(frozen=True)
class StageProgress:
    """How far a stage of a job is.

    Parameters
    ----------
    name : str
    blocks, blocks_done : int
    voxels, voxels_done : int
        0 where they are not counted.
    bytes, bytes_done : int
        Of the input; 0 where voxels are not counted.
    rate : float
        Voxels a second, or blocks where voxels are not counted.
    seconds_left : float, optional
        None until it can be told, and where the stage is finished.
    finished : bool
    """

    name: str
    blocks: int
    blocks_done: int = 0
    voxels: int = 0
    voxels_done: int = 0
    bytes: int = 0
    bytes_done: int = 0
    rate: float = 0.0
    seconds_left: float | None = None
    finished: bool = False


@dataclass(frozen=True)
class Event:
    """Something that happened to a job.

    Parameters
    ----------
    number : int
        Rises with time, over all jobs.
    job : str
        Its id.
    time : float
        Seconds since 1970.
    kind : str
        ``state`` (document: state, reason), ``note`` (text), ``stage`` (the fields of `StageProgress`; only the
        latest of each stage is kept, always under a new number), ``computed`` (blocks).
    document : mapping
    """

    number: int
    job: str
    time: float
    kind: str
    document: Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """A job.

    Parameters
    ----------
    id : str
        Letters, digits, ``_`` and ``-``; also the name of its folder.
    key : str
        Pipeline, collection, experiment and ranges.
    digest : str
        Of all that decides the results.
    channel : str
        What names of pushed channels begin with.
    request : JobRequest
    state : str
        One of `STATES`.
    created, updated : float
        Seconds since 1970.
    started, ended : float, optional
        When a runner last took it first, and when it came to its end.
    runs : int
        How often people have started it.
    event : int
        Number of the event of its last transition.
    cancel_asked : bool
        Whether a runner has still to notice that it is cancelled.
    reason : str, optional
        Why it failed, waits, or is tried again.
    people : tuple of str
        Addresses of those who are told.
    stages : tuple of StageProgress
        In the order in which they began.
    results : mapping
        Of a job that is done: ``objects``, ``volumes`` (name: zarr in the folder), ``files``, ``pushed`` (channel:
        URL).
    folder : Path
        For its results; made when it first runs.
    voxel_bytes : int
        Read from the archive for a voxel, all channels together.
    """

    id: str
    key: str
    digest: str
    channel: str
    request: JobRequest
    state: str
    created: float
    updated: float
    started: float | None
    ended: float | None
    runs: int
    event: int
    cancel_asked: bool
    reason: str | None
    people: tuple[str, ...]
    stages: tuple[StageProgress, ...]
    results: Mapping[str, Any]
    folder: Path
    voxel_bytes: int

    def _repr_html_(self) -> str:
        """What Jupyter shows: what the job is, costs and came to, and a bar for each stage."""
        from pipeline.jobs.description import to_html  # which needs this module

        return to_html(self)

    @property
    def finished(self) -> bool:
        """Whether it has come to an end, good or bad."""
        return self.state in ENDED
