"""What long work tells those who wait for it: events, the pace of a stage, and who is told.

Kernels and tasks know nothing of this; only the loop that submits tasks reports. Rendering is in `pipeline.display`.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Note:
    """A sentence for the person."""

    text: str


@dataclass(frozen=True)
class StageStarted:
    """A stage of so many blocks begins; `voxels` is 0 where they are not counted."""

    name: str
    blocks: int
    voxels: int


@dataclass(frozen=True)
class BlockDone:
    """Another block of a stage is done; counts are those of the stage so far.

    `rate` is in blocks or, if they are counted, voxels a second, `seconds_left` None until it can be told.
    """

    name: str
    blocks_done: int
    blocks: int
    voxels_done: int
    rate: float
    seconds_left: float | None


@dataclass(frozen=True)
class StageFinished:
    """A stage is done."""

    name: str
    blocks: int
    voxels: int
    seconds: float


Event = Note | StageStarted | BlockDone | StageFinished
Subscriber = Callable[[Event], None]


MARKS = 600  # that a stage's pace is told from at most


class Progress:
    """Passes events on to its subscribers, in the thread that reports.

    Parameters
    ----------
    *subscribers : callable
        Called with each `Event`; must return quickly.
    """

    def __init__(self, *subscribers: Subscriber) -> None:
        self._subscribers = subscribers

    def note(self, text: str) -> None:
        """Tell a sentence."""
        self.tell(Note(text))

    @contextlib.contextmanager
    def stage(self, name: str, *, blocks: int, voxels: int) -> Iterator[Stage]:
        """A stage of work: started now, finished when the context is left without an exception."""
        started = time.monotonic()
        self.tell(StageStarted(name, blocks, voxels))
        stage = Stage(name, blocks, voxels, self.tell, Pace(voxels or blocks, started))
        yield stage
        self.tell(StageFinished(name, stage.blocks_done, stage.voxels_done, time.monotonic() - started))

    def tell(self, event: Event) -> None:
        """Pass an event on."""
        for subscriber in self._subscribers:
            subscriber(event)


@dataclass
class Stage:
    """A stage that is under way; `advance` after each block."""

    name: str
    blocks: int
    voxels: int
    tell: Subscriber
    pace: Pace
    blocks_done: int = 0
    voxels_done: int = 0

    def advance(self, voxels: int = 0) -> None:
        """One more block, of so many voxels, is done."""
        self.blocks_done += 1
        self.voxels_done += voxels
        self.pace.record(self.voxels_done if self.voxels else self.blocks_done, time.monotonic())
        self.tell(
            BlockDone(
                self.name, self.blocks_done, self.blocks, self.voxels_done, self.pace.rate, self.pace.seconds_left
            )
        )


@dataclass
class Pace:
    """Rate and time left of work of a known amount, from the last minute or so of it.

    Parameters
    ----------
    total : float
        The whole amount, in any unit.
    started : float
        Time at which nothing was done, seconds.

    Examples
    --------
    >>> pace = Pace(total=100, started=0.0)
    >>> pace.record(25, at=10.0)
    >>> pace.rate, pace.seconds_left
    (2.5, 30.0)
    """

    total: float
    started: float
    window: float = 60.0
    _marks: deque[tuple[float, float]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._marks.append((self.started, 0.0))

    def record(self, done: float, at: float) -> None:
        """So much is done at that time."""
        if len(self._marks) > 1 and at - self._marks[-2][0] < self.window / MARKS:
            self._marks.pop()  # so that a thousand blocks a second leave no more than one
        self._marks.append((at, done))
        while len(self._marks) > 2 and self._marks[1][0] <= at - self.window:
            self._marks.popleft()

    @property
    def rate(self) -> float:
        """Amount a second; 0 until something is done."""
        (t0, first), (t1, last) = self._marks[0], self._marks[-1]
        return (last - first) / (t1 - t0) if t1 > t0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Time until the whole amount is done at this rate; None while there is none."""
        return (self.total - self._marks[-1][1]) / self.rate if self.rate > 0 else None
