"""A folder of files that may go at any time: the least recently used ones do when they are too many bytes together."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.durability import TEMPORARY

SHARE = 64  # of the bound, after which a process looks anew what all of them have written
KEPT = 0.9  # of the bound, that is left when some have to go
STALE_SECONDS = 3600.0  # after which a temporary file is one of a process that died


class Shelf:
    """How much has been kept, as far as this process knows; removes what is too much.

    Several processes may together keep more than the bound for a while: a `SHARE` of it each. The time of a file's last
    change is that of its last use: whoever reads it sets it.

    Parameters
    ----------
    folder : callable
        Gives the folder; files lie in folders below it.
    limit : callable
        Gives the bytes to keep.
    oldest_seconds : float, optional
        After which a file that nobody used goes in any case.
    """

    def __init__(
        self, folder: Callable[[], Path], limit: Callable[[], int], oldest_seconds: float | None = None
    ) -> None:
        self._folder = folder
        self._limit = limit
        self._oldest_seconds = oldest_seconds
        self._known: int | None = None
        self._since = 0
        self._reset_lock()
        os.register_at_fork(after_in_child=self._reset_lock)

    def _reset_lock(self) -> None:
        self._lock = threading.Lock()

    def count(self, nbytes: int) -> None:
        """Note that a file of so many bytes was put there."""
        limit = self._limit()
        with self._lock:
            self._since += nbytes
            if self._known is None or self._since > limit // SHARE or self._known + self._since > limit:
                self._known, self._since = self._sweep(limit), 0

    def _sweep(self, limit: int) -> int:
        """Remove files, least recently used first, if they are too many; the bytes that are left."""
        found, now = [], time.time()
        for path in self._folder().glob("*/*"):
            with contextlib.suppress(OSError):  # another process may be removing, too
                status = path.stat()
                temporary = path.name.endswith(TEMPORARY)
                oldest = STALE_SECONDS if temporary else self._oldest_seconds
                if oldest is not None and status.st_mtime < now - oldest:
                    path.unlink()
                elif not temporary:
                    found.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in found)
        if total <= limit:
            return total
        for _, size, path in sorted(found):
            if total <= limit * KEPT:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
        return total
