"""The store that arrays are read through: it looks at each chunk before a decoder does."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr.storage
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.sync import sync

from pipeline.errors import ReadError
from pipeline.formats.chunk_sizes import BLOSC_HEADER, SLACK, check_decoded
from pipeline.formats.retry import retry_async
from pipeline.formats.source import one_line
from pipeline.formats.zarr_folder import check_contained, options_of, try_once

DOCUMENTS = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
LARGEST_ITEM = 8  # bytes of a value, also in front of filters
SETTLE_SECONDS = 10.0
BLOSC_LENGTH = slice(12, 16)  # where a Blosc frame says how many bytes it has


@dataclass(frozen=True)
class Packing:
    """How an array's chunks lie in its files.

    Parameters
    ----------
    codec : str
        What they were compressed by at last; empty if by nothing.
    most : int
        Bytes that one can have in front of that.
    per_shard : int
        Chunks in a file; 0 where a chunk is a file.
    index_first : bool
        Whether a shard begins with its index; else it ends with it.
    index_size : int
        Bytes of that index.
    """

    codec: str
    most: int
    per_shard: int = 0
    index_first: bool = False
    index_size: int = 0

    @property
    def sharded(self) -> bool:
        return self.per_shard > 0

    def frames(self, shard: bytes) -> Iterator[bytes]:
        """The chunks of a whole shard (Zarr 3, sharding codec 1.0: offset and length of each, little-endian uint64)."""
        index = shard[: self.index_size] if self.index_first else shard[max(len(shard) - self.index_size, 0) :]
        if len(index) < self.index_size:
            return
        for offset, length in np.frombuffer(index, "<u8", self.per_shard * 2).reshape(-1, 2).tolist():
            if offset + length <= len(shard):
                yield shard[offset : offset + length]


class GuardedStore(zarr.storage.WrapperStore[Store]):
    """Gives out nothing from outside a local store's folder, no Blosc frame that is cut off, and no bomb.

    Blosc decodes a cut frame without an error, from whatever lies behind it in memory; the other codecs notice.

    Parameters
    ----------
    store : Store
        The store behind.
    root : str
        Path or URL, for messages and for links.
    packing : Packing
        How its chunks are stored.
    """

    def __init__(self, store: Store, root: str, packing: Packing) -> None:
        super().__init__(store)
        self._root = root
        self._packing = packing

    def _with_store(self, store: Store) -> GuardedStore:
        return GuardedStore(store, self._root, self._packing)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        check_contained(self._root, key, local="://" not in self._root)
        store = self._store
        data = await retry_async(lambda: store.get(key, prototype, byte_range))
        if self._packing.codec and data is not None and not key.endswith(DOCUMENTS):
            await asyncio.to_thread(self._check, key, data.to_bytes(), byte_range)
        return data

    def _check(self, key: str, data: bytes, byte_range: ByteRequest | None) -> None:
        """Look at the frames in a chunk, in a whole shard, or in what is read of one; its index is none."""
        if not self._packing.sharded and byte_range is None:
            frames = iter([data])
        elif byte_range is None:
            frames = self._packing.frames(data)
        else:
            frames = iter([data] if isinstance(byte_range, RangeByteRequest) else [])
        for frame in frames:
            if self._packing.codec == "blosc":
                check_frame(self._root, key, frame[:BLOSC_HEADER], len(frame))
            try:
                check_decoded(self._packing.codec, frame, self._packing.most)
            except (ValueError, zlib.error) as error:
                raise ReadError(f"{self._root}: chunk {key!r} is damaged: {one_line(error)}") from error

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]


def check_frame(root: str, key: str, header: bytes, size: int) -> None:
    """Refuse a Blosc frame of `size` bytes that is cut off, by its first bytes.

    Raises
    ------
    ReadError
        The message names the chunk.
    """
    promised = int.from_bytes(header[BLOSC_LENGTH], "little") if len(header) == BLOSC_HEADER else BLOSC_HEADER
    if size < promised:
        raise ReadError(f"{root}: chunk {key!r} is cut off: {size:,} of {promised:,} bytes")


def guarded_store(root: str, document: dict[str, Any]) -> GuardedStore:
    """The store to read an array from.

    Parameters
    ----------
    root : str
        Local folder or URL of the store.
    document : dict
        The array's own document, ``.zarray`` or ``zarr.json``.
    """
    if "://" in root:
        remote = zarr.storage.FsspecStore.from_url(root, storage_options=options_of(root), read_only=True)
        try_once(remote.fs)
        return GuardedStore(remote, root, _packing(document))
    return GuardedStore(zarr.storage.LocalStore(root, read_only=True), root, _packing(document))


def _packing(document: dict[str, Any]) -> Packing:
    """What an array's document says of its chunks; a malformed one is refused by Zarr itself."""
    codecs = document.get("codecs") or [document.get("compressor")]
    grid = document.get("chunk_grid", {}).get("configuration", {})
    chunks, options = document.get("chunks") or grid.get("chunk_shape"), {}
    if isinstance(codecs[-1], dict) and codecs[-1].get("name") == "sharding_indexed":
        options = codecs[-1]["configuration"]
        per_shard = math.prod(n // m for n, m in zip(chunks, options["chunk_shape"], strict=True))
        codecs, chunks = options["codecs"], options["chunk_shape"]
    last = codecs[-1] if isinstance(codecs[-1], dict) else {}
    name = str(last.get("id", last.get("name", ""))).removeprefix("numcodecs.")
    most = math.prod(chunks) * LARGEST_ITEM + SLACK
    if not options:
        return Packing(name, most)
    checked = any(codec.get("name") == "crc32c" for codec in options["index_codecs"])
    first = options.get("index_location") == "start"
    return Packing(name, most, per_shard, first, 16 * per_shard + 4 * checked)


def settle() -> None:
    """Wait until the chunk reads that a failed read left behind are done.

    Zarr reads the chunks of a box at once and gives up at the first error. What is then still under way when the
    interpreter ends would fill the terminal with messages of the event loop.
    """
    sync(_wait_for_others())


async def _wait_for_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=SETTLE_SECONDS)
