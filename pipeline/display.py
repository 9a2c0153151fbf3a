"""Progress on stderr: a bar with rate and time left on a terminal, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from pipeline.errors import one_line
from pipeline.progress import BlockDone, Event, Note, Progress, StageFinished, StageStarted, Subscriber

LINE_SECONDS = 5.0  # between two lines where stderr is no terminal


@contextlib.contextmanager
def report(as_json: bool) -> Iterator[Progress]:
    """Progress that is shown on stderr while the context lasts."""
    if as_json:
        yield Progress(JsonLines(sys.stderr))
    elif sys.stderr.isatty():
        with Bar() as bar:
            yield Progress(bar)
    else:
        yield Progress(Lines(sys.stderr))


class JsonLines:
    """One JSON object a line for each event; its kind is ``event``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        _write_line(self._stream, json.dumps({"event": type(event).__name__, **asdict(event)}))


class Lines:
    """A line for what begins and ends, and every few seconds in between."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next = 0.0

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, BlockDone) and now < self._next:
            return
        if isinstance(event, StageStarted | BlockDone):
            self._next = now + LINE_SECONDS
        _write_line(self._stream, describe(event))


def _write_line(stream: TextIO, text: str) -> None:
    """A line at once: `print` writes its end apart, and Ctrl-C may come in between."""
    stream.write(f"{text}\n")
    stream.flush()


class Bar:
    """A bar for each stage."""

    def __init__(self) -> None:
        self._rich = RichProgress(
            TextColumn("{task.description:<8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("blocks  {task.fields[pace]}"),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Subscriber:
        self._rich.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._rich.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Note):
            self._rich.console.print(describe(event), markup=False, highlight=False)
        elif isinstance(event, StageStarted):
            if event.name in self._tasks:  # of the volume before, where there are many
                self._rich.remove_task(self._tasks[event.name])
            self._tasks[event.name] = self._rich.add_task(event.name, total=event.blocks, pace="")
        elif isinstance(event, BlockDone):
            self._rich.update(self._tasks[event.name], completed=event.blocks_done, pace=describe_pace(event))
        else:
            self._rich.update(self._tasks[event.name], completed=event.blocks, pace=f"{event.seconds:.1f} s")


def describe(event: Event) -> str:
    """An event as a line of text."""
    if isinstance(event, Note):
        return one_line(event.text)
    if isinstance(event, StageStarted):
        return f"{event.name}: {event.blocks} blocks"
    if isinstance(event, StageFinished):
        return f"{event.name}: done in {event.seconds:.1f} s"
    return f"{event.name}: {event.blocks_done} of {event.blocks} blocks, {describe_pace(event)}"


def describe_pace(event: BlockDone) -> str:
    """Rate and time left.

    Examples
    --------
    >>> describe_pace(BlockDone("predict", 5, 20, 5_000_000, 2.5e6, 6.0))
    '2.5 million voxels/s, 6 s left'
    """
    rate = f"{event.rate / 1e6:.1f} million voxels/s" if event.voxels_done else f"{event.rate:.1f} blocks/s"
    if event.seconds_left is None:
        return rate
    left = round(event.seconds_left)
    hours, minutes, seconds = left // 3600, left // 60 % 60, left % 60
    clock = f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
    return f"{rate}, {clock} left"
