"""Blocks of the archive on disk, so that each is fetched once, by whichever process needs it first.

A block is one file, whole or absent, below ``boss/blocks`` of the data folder, named by its channel and its box. It is
made of parts that are decoded alone, since tasks cut their boxes otherwise: with whole blocks of 32 x 512 x 512, two
thirds of the time of an analysis in boxes of 130 x 130 x 258 went into decoding. A table at its beginning holds a check
sum of each part, and the whole table one over itself and the name, so what is damaged or misplaced is fetched again.
The least recently used files go when they are more than ``boss_cache_bytes`` altogether.

While one process fetches a block it holds a lock, and others wait for the file. There are `LOCKS` locks for all blocks:
two different blocks wait for each other now and then, and no lock has to be cleaned up.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import itertools
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from numcodecs import Blosc

from pipeline.config import settings
from pipeline.durability import make_folder, remove, write_file
from pipeline.formats.chunk_sizes import decode_chunk
from pipeline.shelf import Shelf

Array = npt.NDArray[Any]
Index = tuple[int, int, int]
Part = tuple[Index, Index]  # first voxel, and the one behind the last, (z, y, x), of the coordinate frame
MARK = b"VFB1"
SUM_BYTES = 32
ENTRY_BYTES = 8 + SUM_BYTES  # of the table: length of a part, and its check sum
PART = (32, 128, 128)  # voxels, (z, y, x), that are decoded as a whole
LOCKS = 256
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
    start: Index
    stop: Index
    dtype: str
    version: str = ""

    @functools.cached_property
    def parts(self) -> tuple[Part, ...]:
        """What it is made of: the cells of a grid that is anchored at 0, cut to the block."""
        cells = [
            [(max(i * n, a), min(i * n + n, b)) for i in indices]
            for indices, n, a, b in zip(grid(PART, self.start, self.stop), PART, self.start, self.stop, strict=True)
        ]
        return tuple(((z0, y0, x0), (z1, y1, x1)) for (z0, z1), (y0, y1), (x0, x1) in itertools.product(*cells))

    @property
    def path(self) -> Path:
        """Its file."""
        ranges = "_".join(f"{a}-{b}" for a, b in zip(self.start, self.stop, strict=True))
        version = f"_{hashlib.sha256(self.version.encode()).hexdigest()[:16]}" if self.version else ""
        return _folder(self.channel) / f"{ranges}{version}"


def read(block: Block, parts: Sequence[Part], fetch: Callable[[], Array]) -> list[Array]:
    """Some parts of a block, (z, y, x) each, from disk, or from `fetch` and kept; not to be written to.

    Parameters
    ----------
    block : Block
    parts : sequence
        Of `block.parts`.
    fetch : callable
        Gives the whole block; may raise anything, and then nothing is kept.
    """
    if not parts:
        return []
    if not settings().boss_cache_bytes:
        return _cut(block, parts, fetch())
    found = _load(block, parts)
    if found is not None:
        return found
    with _locked(block):
        found = _load(block, parts)  # of the process that held the lock
        if found is None:
            whole = fetch()
            _store(block, whole)
            found = _cut(block, parts, whole)
    return found


def _cut(block: Block, parts: Sequence[Part], whole: Array) -> list[Array]:
    """Copies: a view would keep all of the block in memory."""
    return [
        whole[tuple(slice(a - o, b - o) for a, b, o in zip(*part, block.start, strict=True))].copy() for part in parts
    ]


def forget_channel(channel: str) -> None:
    """Remove all blocks of a channel: it was written to."""
    with contextlib.suppress(OSError):
        remove(_folder(channel))


def _folder(channel: str) -> Path:
    return _root() / "blocks" / channel


def _root() -> Path:
    return settings().data_dir / "boss"


def _sum(*contents: bytes) -> bytes:
    found = hashlib.sha256()
    for part in contents:
        found.update(part)
    return found.digest()


def _load(block: Block, parts: Sequence[Part]) -> list[Array] | None:
    """Parts from the file of a block; None if there is no file, or it is not what was written."""
    try:
        with block.path.open("rb") as file:
            found = _load_from(file, block, parts)
        os.utime(block.path)
    except OSError:
        return None
    if found is None:
        _log.warning("%s is damaged and fetched again", block.path)
    return found


def _load_from(file: BinaryIO, block: Block, parts: Sequence[Part]) -> list[Array] | None:
    number = len(block.parts)
    head = file.read(len(MARK) + SUM_BYTES + number * ENTRY_BYTES)
    table = head[len(MARK) + SUM_BYTES :]
    if head[: len(MARK) + SUM_BYTES] != MARK + _sum(repr(block).encode(), table):
        return None
    entries = [table[n * ENTRY_BYTES : (n + 1) * ENTRY_BYTES] for n in range(number)]
    lengths = [int.from_bytes(entry[:8], "little") for entry in entries]
    offsets = list(itertools.accumulate(lengths, initial=len(head)))
    dtype = np.dtype(block.dtype)
    found = []
    for part in parts:
        at = block.parts.index(part)
        file.seek(offsets[at])
        payload = file.read(lengths[at])
        if _sum(payload) != entries[at][8:]:
            return None
        shape = [b - a for a, b in zip(*part, strict=True)]
        decoded = decode_chunk(CODEC, payload, math.prod(shape) * dtype.itemsize)
        found.append(np.frombuffer(decoded, dtype).reshape(shape))
    return found


def _store(block: Block, whole: Array) -> None:
    """Keep a block; a full disk or a folder without access costs the keeping, not the block."""
    payloads = [bytes(CODEC.encode(part)) for part in _cut(block, block.parts, whole)]
    table = b"".join(len(payload).to_bytes(8, "little") + _sum(payload) for payload in payloads)
    contents = b"".join([MARK, _sum(repr(block).encode(), table), table, *payloads])
    try:
        write_file(block.path, contents)
        LEDGER.count(len(contents))
    except OSError as error:
        _log.warning("blocks of the archive cannot be kept in %s: %s", _root(), error.strerror or error)


def make_ledger() -> Shelf:
    """What knows how many bytes of blocks there are, and removes some."""
    return Shelf(lambda: _root() / "blocks", lambda: settings().boss_cache_bytes)


LEDGER = make_ledger()


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
