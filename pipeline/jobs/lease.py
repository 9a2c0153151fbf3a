"""Keeping a job while it is computed: a thread that renews the lease and notices what ends the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from pipeline.config import settings
from pipeline.errors import SupersededError, WriteError
from pipeline.jobs.claims import Claim

LOOK_SECONDS = 0.5  # how soon a cancellation is noticed
RENEWALS = 4  # within the time of a lease

End = Literal["cancelled", "superseded", "stopped"]


class Lease:
    """A claim that is renewed while the context lasts.

    Parameters
    ----------
    claim : Claim
    stopping : callable
        Whether this process is to end.
    """

    def __init__(self, claim: Claim, stopping: Callable[[], bool]) -> None:
        self._claim = claim
        self._stopping = stopping
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self.end: End | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def is_over(self) -> bool:
        """Whether the work has to end; `end` says why."""
        return self.end is not None

    def _keep(self) -> None:
        length = settings().job_lease_seconds
        renewed = time.monotonic()
        while not self._over.wait(min(LOOK_SECONDS, length / RENEWALS)):
            if self.end is None and self._stopping():
                self.end = "stopped"
            now = time.monotonic()
            try:
                due = now - renewed >= length / RENEWALS
                cancelled = self._claim.renew() if due else self._claim.is_cancelled()
            except SupersededError:
                self.end = "superseded"
                return
            except WriteError:  # a full disk, or a file that is locked for long: another look follows
                if now - renewed > length:  # others may have it by now
                    self.end = "superseded"
                    return
                continue
            renewed = now if due else renewed
            if cancelled and self.end is None:
                self.end = "cancelled"
