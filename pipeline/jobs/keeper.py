"""Processes for jobs: one for each job that may run, another one where one died, none where nothing waits.

A job's memory, threads and crashes are those of its own process. The keeper itself is small, computes nothing, and may
be killed as well: its processes then hear that their standard input has ended, put their jobs back and leave.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass

from pipeline.config import settings
from pipeline.errors import PipelineError
from pipeline.jobs import retention, secrets
from pipeline.jobs.claims import is_work, let_go
from pipeline.jobs.runner import Place
from pipeline.jobs.store import JobStore

LOG = logging.getLogger("pipeline.jobs")
COMMAND = [sys.executable, "-m", "pipeline.jobs"]
BAD_USAGE = 2  # exit code
LOOK_SECONDS = 0.3
SETTLE_SECONDS = 4.0  # for a new process to take its job, before another one is started for the same
TIDY_SECONDS = 600.0
STOP_SECONDS = 8.0  # for processes to put their jobs back
LONGEST_PAUSE = 60.0  # after processes that could not even begin
QUICK_SECONDS = 5.0  # one that fails so soon did not get to its job


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    runner: str
    started: float


class Keeper:
    """Runs jobs in processes of their own.

    Parameters
    ----------
    store : JobStore
    place : Place
    """

    def __init__(self, store: JobStore, place: Place) -> None:
        self._store = store
        self._place = ["--scheduler", place.scheduler]
        self._workers = ["--workers", str(place.workers)] if place.workers is not None else []
        self._children: list[_Child] = []
        self._next_start = 0.0
        self._next_tidy = 0.0
        self._pause = 0.0

    def run(self, stop: threading.Event) -> int:
        """Keep jobs going until `stop` is set; then have them put back. Returns the exit code.

        Meanwhile a process says on stderr whether every pipeline can be run where jobs will be. A scheduler that does
        not answer yet is no reason to end, since jobs wait for it; one that cannot be is.
        """
        check = subprocess.Popen([*COMMAND, "check", *self._place], stdin=subprocess.DEVNULL)
        try:
            while not stop.wait(LOOK_SECONDS):
                if check.poll() == BAD_USAGE:
                    return BAD_USAGE
                self.look()
            return 0
        finally:
            check.terminate()
            check.wait()
            self._end()

    def look(self) -> None:
        """One round: see who has ended, and start what may run."""
        try:
            self._reap()
            now = time.monotonic()
            if now >= self._next_start and len(self._children) < settings().job_concurrency and is_work(self._store):
                self._start(now)
            if now >= self._next_tidy:
                self._next_tidy = now + TIDY_SECONDS
                retention.tidy(self._store)
        except PipelineError as error:  # such as a full disk: the next round may do better
            LOG.error("%s", error.message)

    def _start(self, now: float) -> None:
        runner = uuid.uuid4().hex
        command = [*COMMAND, "run", "--once", "--while-open", *self._place, *self._workers, "--name", runner]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(secrets.hand_over())
            process.stdin.flush()
        self._children.append(_Child(process, runner, now))
        self._next_start = now + SETTLE_SECONDS

    def _reap(self) -> None:
        for child in list(self._children):
            code = child.process.poll()
            if code is None:
                continue
            self._forget(child)
            if code != 0:
                LOG.warning("the process of runner %s ended with %d", child.runner, code)
            quick = code > 0 and time.monotonic() - child.started < QUICK_SECONDS
            self._pause = min(2 * self._pause or 1.0, LONGEST_PAUSE) if quick else 0.0
            self._next_start = time.monotonic() + self._pause

    def _forget(self, child: _Child) -> None:
        self._children.remove(child)
        assert child.process.stdin is not None
        with contextlib.suppress(OSError):
            child.process.stdin.close()
        let_go(self._store, child.runner)

    def _end(self) -> None:
        for child in self._children:
            child.process.terminate()
        until = time.monotonic() + STOP_SECONDS
        for child in list(self._children):
            try:
                child.process.wait(max(until - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            with contextlib.suppress(PipelineError):
                self._forget(child)
