"""The process that runs jobs, from its start to a clean stop: signals, the pipe to whoever started it, and the log."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from pipeline.console import show_note
from pipeline.errors import PlanError, one_line
from pipeline.jobs import secrets
from pipeline.jobs.keeper import Keeper
from pipeline.jobs.mail import delivering
from pipeline.jobs.runner import Place, run_next
from pipeline.jobs.store import JobStore

INTERRUPTED = 130
STANDARD_INPUT = 0


def run_service(place: Place) -> int:
    """Run jobs as they come, and send what is to be sent, until told to stop; returns the exit code."""
    store, stop = JobStore(), threading.Event()
    with _ended_by_signals(stop), delivering(store):
        show_note(f"jobs in {store.path}; Ctrl-C ends this, and nothing that is finished is lost", as_json=False)
        return Keeper(store, place).run(stop)


def run_one(place: Place, name: str) -> int:
    """Run one job, if one waits; returns the exit code."""
    stop = threading.Event()
    with _ended_by_signals(stop):
        run_next(JobStore(), name, place, stop.is_set)
    return INTERRUPTED if stop.is_set() else 0


def follow_parent() -> None:
    """Take the session's key from standard input, and end this process as soon as that ends.

    Raises
    ------
    PlanError
        If what comes is no such key.
    """
    try:
        secrets.take_over(_read_line())
    except ValueError:
        raise PlanError("--while-open is for processes that `voxelforest serve` starts", code="usage") from None
    threading.Thread(target=_end_with_input, daemon=True).start()


def configure_log() -> None:
    """Send what happens to jobs to stderr, a line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("pipeline.jobs")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


def _read_line() -> bytes:
    """A line of standard input, without Python's buffer: at its end Python fails on one that a thread waits in."""
    line = b""
    while not line.endswith(b"\n") and (some := os.read(STANDARD_INPUT, 1)):
        line += some
    return line


def _end_with_input() -> None:
    while os.read(STANDARD_INPUT, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _ended_by_signals(stop: threading.Event) -> Iterator[None]:
    """Set `stop` on Ctrl-C and on a request to end, in place of an exception that could come at any point."""

    def end(_number: int, _frame: Any) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
