"""What somebody who starts a cluster allows it to cost and wants to know about it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

Tell = Callable[[str], None]


def keep_silent(sentence: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Terms:
    """Conditions of a cluster.

    Parameters
    ----------
    max_cost : float, optional
        US dollars that machines made for this cluster may cost at most; they switch themselves off before.
    core_seconds : float, optional
        What the work takes on one core, roughly: turned into a price beforehand where there is one.
    task_bytes : int, optional
        Memory of one block task; the limits of processes made for this cluster follow it. The setting `task_memory`
        by default, which bounds every plan.
    logfile : path, optional
        Where the logs of the scheduler and of all its workers are put together at the end.
    report : path, optional
        A page of what Dask saw of the work, written at the end.
    tell : callable
        Called with sentences for the person who waits.
    """

    max_cost: float | None = None
    core_seconds: float | None = None
    task_bytes: int | None = None
    logfile: str | os.PathLike[str] | None = None
    report: str | os.PathLike[str] | None = None
    tell: Tell = keep_silent
