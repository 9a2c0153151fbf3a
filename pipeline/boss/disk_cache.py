"""Blocks of the archive on disk, so that each is fetched once, by whichever process needs it first.

A block is one file, whole or absent, below ``boss/blocks`` of the data folder, named by its channel and its box. It
begins with a check sum over contents and name, so a damaged or misplaced one is fetched again. The least recently used
go when they are more than ``boss_cache_bytes`` altogether.

While one process fetches a block it holds a lock, and others wait for the file. There are `LOCKS` locks for all blocks:
two different blocks wait for each other now and then, and no lock has to be cleaned up.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numcodecs import Blosc

from pipeline.config import settings
from pipeline.durability import TEMPORARY, make_folder, remove, write_file
from pipeline.formats.chunk_sizes import decode_chunk

Array = npt.NDArray[Any]
MARK = b"VFB1"
SUM_BYTES = 32
LOCKS = 256
SHARE = 64  # of the bound, after which a process looks anew what all of them have written
KEPT = 0.9  # of the bound, that is left when some have to go
STALE_SECONDS = 3600.0  # after which a temporary file is one of a process that died
CODEC = Blosc(cname="lz4", clevel=5, shuffle=Blosc.SHUFFLE)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Block:
    """A box of a channel.

    Parameters
    ----------
    channel : str
        Hexadecimal; another one whenever the data is another.
    start, stop : tuple of int, (z, y, x)
    dtype : str
    version : str
        The user's word for the state of the data; empty by default.
    """

    channel: str
    start: tuple[int, ...]
    stop: tuple[int, ...]
    dtype: str
    version: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels, (z, y, x)."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def path(self) -> Path:
        """Its file."""
        ranges = "_".join(f"{a}-{b}" for a, b in zip(self.start, self.stop, strict=True))
        version = f"_{hashlib.sha256(self.version.encode()).hexdigest()[:16]}" if self.version else ""
        return _folder(self.channel) / f"{ranges}{version}"


def read(block: Block, fetch: Callable[[], Array]) -> Array:
    """The voxels of a block, (z, y, x), from disk, or from `fetch` and kept; not to be written to."""
    if not settings().boss_cache_bytes:
        return fetch()
    found = _load(block)
    if found is not None:
        return found
    with _locked(block):
        found = _load(block)  # of the process that held the lock
        if found is None:
            found = fetch()
            _store(block, found)
    return found


def forget_channel(channel: str) -> None:
    """Remove all blocks of a channel: it was written to."""
    with contextlib.suppress(OSError):
        remove(_folder(channel))


def _folder(channel: str) -> Path:
    return _root() / "blocks" / channel


def _root() -> Path:
    return settings().data_dir / "boss"


def _sum(block: Block, payload: bytes) -> bytes:
    return hashlib.sha256(repr(block).encode() + payload).digest()


def _load(block: Block) -> Array | None:
    """What the file of a block holds; None if there is none, or it is not what was written."""
    try:
        contents = block.path.read_bytes()
        os.utime(block.path)
    except OSError:
        return None
    head, payload = contents[: len(MARK) + SUM_BYTES], contents[len(MARK) + SUM_BYTES :]
    if head != MARK + _sum(block, payload):
        _log.warning("%s is damaged and fetched again", block.path)
        return None
    dtype = np.dtype(block.dtype)
    decoded = decode_chunk(CODEC, payload, math.prod(block.shape) * dtype.itemsize)
    return np.frombuffer(decoded, dtype).reshape(block.shape)


def _store(block: Block, data: Array) -> None:
    """Keep a block; a full disk or a folder without access costs the keeping, not the block."""
    payload = CODEC.encode(np.ascontiguousarray(data))
    try:
        write_file(block.path, MARK + _sum(block, payload) + payload)
        LEDGER.count(len(payload))
    except OSError as error:
        _log.warning("blocks of the archive cannot be kept in %s: %s", _root(), error.strerror or error)


class Ledger:
    """How much has been kept, as far as this process knows; removes what is too much.

    Several processes may together keep more than the bound for a while: a `SHARE` of it each.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: int | None = None
        self._since = 0
        os.register_at_fork(after_in_child=self._reset_lock)

    def _reset_lock(self) -> None:
        self._lock = threading.Lock()

    def count(self, nbytes: int) -> None:
        """Note that a block of so many bytes was kept."""
        limit = settings().boss_cache_bytes
        with self._lock:
            self._since += nbytes
            if self._known is None or self._since > limit // SHARE or self._known + self._since > limit:
                self._known, self._since = _sweep(limit), 0


def _sweep(limit: int) -> int:
    """Remove blocks, least recently used first, if they are too many; the bytes that are left."""
    found = []
    for path in (_root() / "blocks").glob("*/*"):
        with contextlib.suppress(OSError):  # another process may be removing, too
            status = path.stat()
            if path.name.endswith(TEMPORARY):
                if status.st_mtime < time.time() - STALE_SECONDS:
                    path.unlink()
                continue
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


LEDGER = Ledger()


@contextlib.contextmanager
def _locked(block: Block) -> Iterator[None]:
    """Hold the lock of a block, between processes and threads; without it, where the file system knows none."""
    number = int.from_bytes(hashlib.sha256(repr(block).encode()).digest()[:4], "little") % LOCKS
    with contextlib.ExitStack() as stack:
        try:
            make_folder(_root() / "locks")
            handle = os.open(_root() / "locks" / f"{number:02x}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            _log.warning("no lock in %s: %s", _root(), error.strerror or error)
        yield


def channel_key(*parts: str) -> str:
    """Name of a channel's folder, from what tells it apart."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:40]


def grid(block: Sequence[int], start: Sequence[int], stop: Sequence[int]) -> list[range]:
    """For each axis the cells of a grid, anchored at 0, that a box touches."""
    return [range(a // n, -(-b // n)) for a, b, n in zip(start, stop, block, strict=True)]
