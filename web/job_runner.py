"""The process beside the server that runs jobs: started once there is a job, again if it dies, and ended with it."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import time
from typing import Any

from gunicorn.arbiter import Arbiter

from pipeline.config import child_environment
from pipeline.jobs import secrets
from pipeline.jobs.store import JobStore

LOG = logging.getLogger("web")
COMMAND = [sys.executable, "-m", "pipeline.jobs", "run", "--while-open"]
FIRST_PAUSE = 1.0  # seconds before one that died is started again; twice as long each time
LONGEST_PAUSE = 60.0
STEADY_SECONDS = 30.0  # after which one is taken to be well
STOP_SECONDS = 12.0  # for it to put its jobs back


class JobRunner:
    """Looked after by the process that watches, so that there is one however many processes answer.

    Parameters
    ----------
    scheduler : str
        As in `pipeline.cluster.connect`.
    workers : int, optional
        Threads or processes that compute, where they are started here.
    url : str
        Where the server listens: links in mails lead there, unless the setting ``public_url`` says otherwise.
    """

    def __init__(self, scheduler: str, workers: int | None, url: str) -> None:
        secrets.session_key()  # made before the fork: those who answer lock tokens away with it
        self._command = [*COMMAND, "--scheduler", scheduler]
        self._command += [] if workers is None else ["--workers", str(workers)]
        self._url = url
        self._store = JobStore()
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._next = 0.0
        self._pause = FIRST_PAUSE

    def look(self) -> None:
        """Called about once a second: see whether it runs, and start it if it should."""
        now = time.monotonic()
        if self._process is not None and (code := self._process.poll()) is not None:
            was_well = code < 0 or now > self._started + STEADY_SECONDS  # a signal is no fault of its own
            self._pause = FIRST_PAUSE if was_well else min(2 * self._pause, LONGEST_PAUSE)
            self._next = now + self._pause
            LOG.warning("the process that runs jobs has ended; another one is started in %g s", self._pause)
            self._let_go()
        if self._process is None and now >= self._next and self._store.exists:
            self._start(now)

    def reap(self) -> None:
        """Take the exit code if the process has ended, before anybody does who waits for any child."""
        if self._process is not None:
            self._process.poll()

    def ask_to_end(self) -> None:
        """Have it put its jobs back and leave."""
        if self._process is not None:
            self._process.terminate()

    def end(self) -> None:
        """Wait until it has left."""
        if self._process is None:
            return
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._let_go()

    def _start(self, now: float) -> None:
        environment = child_environment(public_url=self._url)
        try:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, env=environment)
        except OSError as error:
            self._next = now + LONGEST_PAUSE
            LOG.error("jobs cannot be run: %s", error)
            return
        self._started = now
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(secrets.hand_over())
            self._process.stdin.flush()  # and stays open: its end tells the process that nobody watches it any more

    def _let_go(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process = None


class Watcher(Arbiter):
    """gunicorn's first process, which looks after the runner of jobs as it does after those who answer."""

    def __init__(self, app: Any, runner: JobRunner) -> None:
        super().__init__(app)
        self._runner = runner

    def reap_workers(self) -> None:
        """Called when a child has ended, whichever."""
        self._runner.reap()
        super().reap_workers()

    def manage_workers(self) -> None:
        """Called about once a second."""
        super().manage_workers()
        self._runner.look()

    def stop(self, graceful: bool = True) -> None:
        """Called at the end, and twice if somebody is in a hurry."""
        self._runner.ask_to_end()
        super().stop(graceful)
        self._runner.end()
