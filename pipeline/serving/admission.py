"""What a server takes on: how large a request may be, how much may be in the making, and who goes first.

Memory of a server is at most: the cache, `flight_bytes` of answers and blocks in the making, and one task for each
thread, bounded by the plan (`task_memory`). Whoever would exceed that is told when to come again.

Somebody looking goes before a download, in three ways: their tasks have a higher priority in Dask's queue; all bulk
requests together have fewer tasks at a time than there are threads, so that one is free soon; and bulk answers may take
half of `flight_bytes`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from pipeline.blocks import Box
from pipeline.config import Settings
from pipeline.errors import BusyError, TooLargeError
from pipeline.serving.layer import Layer

POLL_SECONDS = 0.2  # how soon it is noticed that nobody waits any more
VIEWER_PRIORITY, BULK_PRIORITY = 10, 0
LONGEST_RETRY = 60.0  # seconds; a longer guess would be worth nothing
MIB = 2**20


class Admission:
    """The limits of one process; safe to use from several threads.

    Parameters
    ----------
    limits : Settings
    """

    def __init__(self, limits: Settings) -> None:
        self._limits = limits
        self._lock = threading.Condition()
        self._answers = {False: 0, True: 0}  # bytes of answers in the making, by whether they are bulk
        self._bulk_requests = 0
        self._bulk_tasks = 0
        self.refused = 0

    def is_bulk(self, missing: int) -> bool:
        """Whether a request for so many blocks that are not there is treated as bulk, whatever it says of itself."""
        return missing > self._limits.viewer_tasks

    def check_size(self, layer: Layer, box: Box) -> None:
        """Refuse a region whose values take more than one request may.

        Raises
        ------
        TooLargeError
        """
        wanted = layer.n_bytes(box)
        if wanted > self._limits.request_bytes:
            raise TooLargeError(
                f"the region {box} of {layer.name} takes {wanted / MIB:.1f} MiB; one request may ask for "
                f"{self._limits.request_bytes / MIB:.1f} MiB: ask for parts, or for a coarser level",
                code="region",
            )

    @contextlib.contextmanager
    def answer(self, n_bytes: int, flying_bytes: int, bulk: bool, retry_after: float) -> Iterator[None]:
        """Count an answer while it is made.

        Parameters
        ----------
        n_bytes : int
            Of the answer.
        flying_bytes : int
            Of blocks in the making.
        bulk : bool
        retry_after : float
            Seconds, for who is refused.

        Raises
        ------
        BusyError
            If there is no room for it; with the code ``bulk`` if bulk requests alone are at their limit.
        """
        with self._lock:
            self._admit(n_bytes, flying_bytes, bulk, retry_after)
            self._answers[bulk] += n_bytes
            self._bulk_requests += bulk
        try:
            yield
        finally:
            with self._lock:
                self._answers[bulk] -= n_bytes
                self._bulk_requests -= bulk

    def check_tasks(self, flying: int, wanted: int, retry_after: float) -> None:
        """Refuse tasks where too many wait already; a server that does nothing takes any.

        Raises
        ------
        BusyError
        """
        if flying and flying + wanted > self._limits.flight_tasks:
            raise self._busy(f"{flying} blocks are waiting to be computed", "busy", retry_after)

    def has_turn(self, threads: int) -> bool:
        """Whether a bulk request may have one more task in flight now."""
        return self._bulk_tasks < max(threads - 1, 1)

    def take_turn(self, threads: int, check: Callable[[], None]) -> None:
        """Wait until a bulk request may have one more task in flight; to be ended with `end_turn`.

        Parameters
        ----------
        threads : int
            That compute blocks.
        check : callable
            Called several times a second; raises to give up.
        """
        with self._lock:
            while not self.has_turn(threads):
                self._lock.wait(POLL_SECONDS)
                check()
            self._bulk_tasks += 1

    def end_turn(self) -> None:
        """A bulk request's task has ended."""
        with self._lock:
            self._bulk_tasks -= 1
            self._lock.notify()

    def statistics(self) -> dict[str, int]:
        """Numbers for people and dashboards."""
        with self._lock:
            return {
                "answers_bytes": sum(self._answers.values()),
                "bulk_requests": self._bulk_requests,
                "bulk_tasks": self._bulk_tasks,
                "refused": self.refused,
            }

    def _admit(self, n_bytes: int, flying_bytes: int, bulk: bool, retry_after: float) -> None:
        taken = sum(self._answers.values()) + flying_bytes
        if taken and taken + n_bytes > self._limits.flight_bytes:
            raise self._busy(f"{taken / MIB:.0f} MiB of answers are in the making", "busy", retry_after)
        if not bulk:
            return
        if self._bulk_requests >= self._limits.bulk_requests:
            raise self._busy(f"{self._bulk_requests} bulk requests are being answered", "bulk", retry_after)
        if self._answers[True] and 2 * (self._answers[True] + n_bytes) > self._limits.flight_bytes:
            what = f"{self._answers[True] / MIB:.0f} MiB of bulk answers are in the making"
            raise self._busy(what, "bulk", retry_after)

    def _busy(self, what: str, code: str, retry_after: float) -> BusyError:
        self.refused += 1
        seconds = min(max(retry_after, 1.0), LONGEST_RETRY)
        return BusyError(f"{what}, more are not taken; ask again in {seconds:.0f} s", code, seconds)
