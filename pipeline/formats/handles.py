"""The files that a process keeps open for reading volumes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from typing import Any

from pipeline.config import settings
from pipeline.formats.chunk_cache import CHUNKS


class HandleCache:
    """The open files of this process, least recently used dropped first.

    The lock guards bookkeeping, never I/O: opening one file makes others wait only for the same file. A dropped
    handle closes when the last thread that reads from it lets go, so none is closed under a reader.

    Parameters
    ----------
    limit : callable
        Gives the number of handles to keep, >= 1.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._reset()
        # a child of fork must not share file positions, nor a lock that a thread of its parent held
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._slots: dict[Hashable, _Slot] = {}

    def get(self, key: Hashable, opener: Callable[[], Any]) -> Any:
        """The handle of `key`, opened by `opener` if this process has none; errors of `opener` are not kept."""
        with self._lock:
            slot = self._slots.pop(key, None) or _Slot()
            self._slots[key] = slot
            while len(self._slots) > self._limit():
                del self._slots[next(iter(self._slots))]
        with slot.lock:
            if slot.handle is None:
                slot.handle = opener()
            return slot.handle

    def forget(self, concerns: Callable[[Any], bool] = lambda key: True) -> None:
        """Drop the handles whose key `concerns` accepts; all, without it."""
        with self._lock:
            for key in [key for key in self._slots if concerns(key)]:
                del self._slots[key]

    def __len__(self) -> int:
        return len(self._slots)


class _Slot:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.handle: Any = None


HANDLES = HandleCache(lambda: settings().handle_cache)


def close_handles() -> None:
    """Close every file that this process keeps open for reading volumes, and drop what it has decoded of them."""
    HANDLES.forget()
    CHUNKS.forget()
