"""The command while things happen to it: started, watched without blocking, and how it ended."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

from tests.chaos.job import Job
from tests.commands import Outcome


class Running:
    """A command that has been started; what it prints is taken from it.

    Parameters
    ----------
    job : Job
    out : path
    address : str
        Of the scheduler.
    """

    def __init__(self, job: Job, out: str | Path, address: str) -> None:
        self._process: subprocess.Popen[str] = job.start(out, address)
        atexit.register(self.kill)
        self._said = ("", "")
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        self._said = self._process.communicate()

    def wait(self, seconds: float | None = None) -> Outcome | None:
        """How it ended; None if it has not after so many seconds."""
        self._reader.join(seconds)
        if self._reader.is_alive():
            return None
        atexit.unregister(self.kill)  # by now its number may be somebody else's
        out, err = self._said
        return Outcome(self._process.returncode, out.splitlines(), err.splitlines())

    def kill(self) -> None:
        """SIGKILL, and to all that it has started; nothing if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def reason(outcome: Outcome) -> dict[str, Any]:
    """The error that a command ended with; empty if it was killed or ended well."""
    return outcome.document_of_error if outcome.code > 0 else {}
