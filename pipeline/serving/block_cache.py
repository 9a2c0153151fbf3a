"""Computed blocks as Dask futures under deterministic keys, bounded in bytes, least recently used dropped first.

A future is what keeps a block on its worker: dropping the entry frees the memory, and a worker that dies has its
blocks made again by Dask. Blocks that are being made are never dropped for the sake of room; they are dropped when they
fail, and when nobody waits for them any more.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
from distributed import Future

from pipeline.serving.piece import Piece

Array = npt.NDArray[Any]
MOST_FAILURES = 10_000  # keys of blocks that failed which are remembered


@dataclass(eq=False)
class Entry:
    """A block that is there or being made.

    Parameters
    ----------
    piece : Piece
    future : Future
    children : tuple of Piece
        What it is made of.
    waiters : int
        Requests that need it and do not have it yet.
    error : exception, optional
        Why there is no block.
    done : Event
        Set when there is a result or an error.
    """

    piece: Piece
    future: Future
    children: tuple[Piece, ...] = ()
    waiters: int = 0
    error: BaseException | None = None
    begun: float = field(default_factory=time.monotonic)
    done: threading.Event = field(default_factory=threading.Event)
    _value: Array | None = None
    _seen: weakref.ref[Array] | None = None
    _fetching: threading.Lock = field(default_factory=threading.Lock)

    def peek(self) -> Array | None:
        """The block, if it lies in this process, or somebody here has it in his hands."""
        return self._value if self._value is not None else self._seen() if self._seen is not None else None

    def remember(self, value: Array, inside: bool) -> None:
        """Note the block; for good where it lies `inside` this process, else while anybody uses it."""
        if inside:
            self._value = value
        else:
            self._seen = weakref.ref(value)

    def fetch(self, gather: Callable[[Sequence[Future]], list[Array]], inside: bool) -> Array:
        """The block, fetched once however many wait for it at the same time."""
        with self._fetching:
            value = self.peek()
            if value is None:
                (value,) = gather([self.future])
                self.remember(value, inside)
            return value

    @property
    def n_bytes(self) -> int:
        """Bytes of its values, known before they are."""
        return self.piece.n_bytes


@dataclass
class Counters:
    """What has happened since the process began: blocks that were there, had to be made (each is one task), or were
    being made for somebody else; that were dropped for room, failed, or were given up since nobody waited any more.
    """

    hits: int = 0
    misses: int = 0
    joined: int = 0
    evictions: int = 0
    failures: int = 0
    abandoned: int = 0


class BlockCache:
    """The blocks that one process holds; safe to use from several threads.

    Parameters
    ----------
    limit : int
        Bytes of the blocks that are kept. Blocks in the making count, and may exceed it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.counters = Counters()
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0
        self._flying: dict[str, Entry] = {}
        self._flying_bytes = 0
        self._seconds = 0.0
        self._failed: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.RLock()

    def holds(self, piece: Piece) -> bool:
        """Whether a block is there or being made."""
        return piece.key in self._entries

    def pieces(self) -> list[Piece]:
        """All blocks that are there."""
        with self._lock:
            return [entry.piece for entry in self._entries.values() if entry.done.is_set()]

    def find(self, pieces: Sequence[Piece]) -> list[Entry] | None:
        """The entries of blocks that are all done, which counts as a use of each; None if one is not."""
        with self._lock:
            found = [self._entries.get(piece.key) for piece in pieces]
            entries = [entry for entry in found if entry is not None and entry.done.is_set()]
            if len(entries) < len(pieces):
                return None
            for piece in pieces:
                self._entries.move_to_end(piece.key)
            self.counters.hits += len(pieces)
            return entries

    def task_key(self, piece: Piece) -> str:
        """What to call the Dask task of a block: its key, with a number behind it after each failure.

        Dask keeps an error under its key as long as anybody holds the future, be it in a traceback.
        """
        with self._lock:
            failures = self._failed.get(piece.key, 0)
        return f"{piece.key}-again{failures}" if failures else piece.key

    def join(self, piece: Piece) -> Entry | None:
        """Wait along for a block that is there or being made; to be ended with `leave`. None if it is neither."""
        with self._lock:
            entry = self._entries.get(piece.key)
            if entry is None:
                return None
            self._entries.move_to_end(piece.key)
            entry.waiters += 1
            self.counters.joined += not entry.done.is_set()
            self.counters.hits += entry.done.is_set()
            return entry

    def add(self, piece: Piece, future: Future, children: Sequence[Piece] = ()) -> Entry:
        """Take in a block that has just been submitted, with one who waits.

        Parameters
        ----------
        piece : Piece
        future : Future
        children : sequence of Piece
            What it is made of.
        """
        entry = Entry(piece, future, tuple(children), waiters=1)
        with self._lock:
            self._entries[piece.key] = entry
            self._bytes += entry.n_bytes
            self._flying[piece.key] = entry
            self._flying_bytes += entry.n_bytes
            self.counters.misses += 1
            self._evict()
        future.add_done_callback(lambda _: self._end(entry))
        return entry

    def leave(self, entries: Iterable[Entry], *, abandoned: bool = False) -> None:
        """Wait no more; what is being made and nobody waits for is released."""
        with self._lock:
            for entry in entries:
                entry.waiters -= 1
                if entry.waiters <= 0 and not entry.done.is_set():
                    self._drop(entry)
                    entry.done.set()
                    entry.error = entry.error or LookupError("released: nobody waited for it")
                    entry.future.release()
                    if abandoned:
                        self.counters.abandoned += 1

    def drop(self, entry: Entry, *, failed: bool) -> None:
        """Forget a block, so that the next request makes it again; under another key if its task `failed`."""
        with self._lock:
            if failed and self._entries.get(entry.piece.key) is entry:
                self.counters.failures += 1
                self._note_failure(entry.piece.key)
            self._drop(entry)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            for entry in list(self._entries.values()):
                self._drop(entry)
                entry.error = entry.error or LookupError("the scheduler went away")
                entry.done.set()

    @property
    def n_flying(self) -> int:
        """Blocks that are being made."""
        return len(self._flying)

    @property
    def flying_bytes(self) -> int:
        """Bytes of the blocks that are being made."""
        return self._flying_bytes

    @property
    def seconds_each(self) -> float:
        """Seconds from submission to result, a moving mean divided by the blocks that were in flight: the pace."""
        return self._seconds

    def statistics(self) -> dict[str, int]:
        """Numbers for people and dashboards."""
        with self._lock:
            return {
                **vars(self.counters),
                "cached_blocks": len(self._entries) - len(self._flying),
                "cached_bytes": self._bytes - self._flying_bytes,
                "limit_bytes": self.limit,
                "in_flight": len(self._flying),
                "in_flight_bytes": self._flying_bytes,
            }

    def _end(self, entry: Entry) -> None:
        """Dask's callback, in a thread of the client."""
        status = entry.future.status
        with self._lock:
            pace = (time.monotonic() - entry.begun) / max(len(self._flying), 1)
            self._seconds += 0.1 * (pace - self._seconds)
            self._land(entry)
            if status != "finished":
                entry.error = entry.error or LookupError(f"the block's task is {status}")
                self.counters.failures += status == "error"
                self._note_failure(entry.piece.key)
                self._drop(entry)
            entry.done.set()
            self._evict()

    def _note_failure(self, key: str) -> None:
        self._failed[key] = self._failed.pop(key, 0) + 1
        while len(self._failed) > MOST_FAILURES:
            self._failed.popitem(last=False)

    def _land(self, entry: Entry) -> None:
        if self._flying.get(entry.piece.key) is entry:
            del self._flying[entry.piece.key]
            self._flying_bytes -= entry.n_bytes

    def _drop(self, entry: Entry) -> None:
        self._land(entry)
        if self._entries.get(entry.piece.key) is entry:
            del self._entries[entry.piece.key]
            self._bytes -= entry.n_bytes

    def _evict(self) -> None:
        """Drop the oldest blocks that are done until the rest fits."""
        if self._bytes <= self.limit:
            return
        for entry in list(self._entries.values()):
            if self._bytes <= self.limit:
                return
            if entry.done.is_set():
                self._drop(entry)
                self.counters.evictions += 1
