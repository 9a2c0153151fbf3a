"""Progress of an analysis written down as events of its job, a few times a second at most."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.errors import CancelledError, WriteError, one_line
from pipeline.jobs.claims import Claim
from pipeline.jobs.job import StageProgress
from pipeline.progress import BlockDone, Event, Note, StageFinished, StageStarted

EVERY_SECONDS = 0.5
LONGEST_NOTE = 500  # characters


@dataclass
class _Stage:
    started: StageStarted
    since: float
    shown: float = 0.0


class Recorder:
    """A subscriber of `pipeline.progress.Progress`; ends the work it hears of when that has to end.

    Parameters
    ----------
    claim : Claim
    is_over : callable
        Whether the work has to end.
    hide : callable
        Takes out of a text what nobody may see.
    """

    def __init__(self, claim: Claim, is_over: Callable[[], bool], hide: Callable[[str], str]) -> None:
        self._claim = claim
        self._is_over = is_over
        self._hide = hide
        self._stages: dict[str, _Stage] = {}

    def __call__(self, event: Event) -> None:
        """Write an event down; a disk that is full for the moment loses progress, not the job.

        Raises
        ------
        CancelledError
            If the work has to end.
        SupersededError
            If the job is another runner's by now.
        """
        if self._is_over():
            raise CancelledError("The work on this job was ended; what is finished stays.")
        with contextlib.suppress(WriteError):
            if isinstance(event, Note):
                self._claim.tell("note", {"text": one_line(self._hide(event.text))[:LONGEST_NOTE]})
            elif isinstance(event, StageStarted):
                self._stages[event.name] = _Stage(event, time.time())
                self._show(event.name, 0, 0, 0.0, None)
            elif isinstance(event, BlockDone):
                self._show_block(event)
            elif isinstance(event, StageFinished):
                rate = (event.voxels or event.blocks) / max(event.seconds, 1e-9)
                self._show(event.name, event.blocks, event.voxels, rate, None, finished=True)

    def _show_block(self, event: BlockDone) -> None:
        stage = self._stages[event.name]
        now = time.monotonic()
        if now - stage.shown >= EVERY_SECONDS:
            stage.shown = now
            self._show(event.name, event.blocks_done, event.voxels_done, event.rate, event.seconds_left)

    def _show(
        self, name: str, blocks: int, voxels: int, rate: float, seconds: float | None, *, finished: bool = False
    ) -> None:
        stage = self._stages[name]
        whole, size = stage.started, self._claim.voxel_bytes
        progress = StageProgress(
            name=name,
            blocks=whole.blocks,
            blocks_done=blocks,
            voxels=whole.voxels,
            voxels_done=voxels,
            bytes=whole.voxels * size,
            bytes_done=voxels * size,
            rate=rate,
            seconds_left=seconds,
            finished=finished,
        )
        self._claim.show(progress, stage.since)
