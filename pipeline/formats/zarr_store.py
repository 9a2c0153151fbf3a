"""The store that arrays are read through: it looks at each chunk before a decoder does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import zarr.storage
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.sync import sync

from pipeline.config import settings
from pipeline.errors import ReadError
from pipeline.formats import scratch
from pipeline.formats.retry import retry_async
from pipeline.formats.source import one_line
from pipeline.formats.zarr_folder import check_contained, options_of, try_once
from pipeline.formats.zarr_packing import Packing, packing_of

DOCUMENTS = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
SETTLE_SECONDS = 10.0


class GuardedStore(zarr.storage.WrapperStore[Store]):
    """Gives out nothing from outside a local store's folder, no Blosc frame that is cut off, and no bomb.

    Parameters
    ----------
    store : Store
        The store behind.
    root : str
        Path or URL, for messages and for links.
    packing : Packing
        How its chunks are stored.
    opened : str, optional
        Names what was fetched since the volume was opened, see `pipeline.formats.scratch`; nothing is kept without it.
    """

    def __init__(self, store: Store, root: str, packing: Packing, opened: str = "") -> None:
        super().__init__(store)
        self._root = root
        self._packing = packing
        self._opened = opened

    def _with_store(self, store: Store) -> GuardedStore:
        return GuardedStore(store, self._root, self._packing, self._opened)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        check_contained(self._root, key, local="://" not in self._root)
        if not self._opened or not settings().scratch_cache or key.endswith(DOCUMENTS):
            return await self._fetch(key, prototype, byte_range)
        path = scratch.path_of(self._opened, self._root, key, byte_range)
        kept = await asyncio.to_thread(scratch.load, path)
        if kept is not None:
            return prototype.buffer.from_bytes(kept)
        data = await self._fetch(key, prototype, byte_range)
        if data is not None:
            await asyncio.to_thread(scratch.keep, path, data.to_bytes())
        return data

    async def _fetch(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None) -> Buffer | None:
        store = self._store
        data = await retry_async(lambda: store.get(key, prototype, byte_range))
        if self._packing.matters and data is not None and not key.endswith(DOCUMENTS):
            stored = self._packed(byte_range)
            if stored is not None:
                await asyncio.to_thread(self._check, stored, key, data.to_bytes())
        return data

    def _packed(self, byte_range: ByteRequest | None) -> Packing | None:
        """How what is read is packed: a file, or a chunk of a shard; None for a shard's index."""
        shard = self._packing.shard
        if byte_range is None:
            return self._packing
        if shard is None or not isinstance(byte_range, RangeByteRequest):
            return None
        index = shard.index_first and (byte_range.start, byte_range.end) == (0, shard.index_size)
        return None if index else shard.inner

    def _check(self, packing: Packing, key: str, data: bytes) -> None:
        try:
            packing.check(data)
        except Exception as error:  # decoders raise whatever they like: ValueError, zlib.error, RuntimeError, ...
            raise ReadError(f"{self._root}: chunk {key!r} is damaged: {one_line(error)}") from error

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]


def guarded_store(root: str, document: dict[str, Any], opened: str = "") -> GuardedStore:
    """The store to read an array from.

    Parameters
    ----------
    root : str
        Local folder or URL of the store.
    document : dict
        The array's own document, ``.zarray`` or ``zarr.json``.
    opened : str, optional
        See `GuardedStore`; for stores behind a URL.
    """
    if "://" in root:
        remote = zarr.storage.FsspecStore.from_url(root, storage_options=options_of(root), read_only=True)
        try_once(remote.fs)
        return GuardedStore(remote, root, packing_of(document), opened)
    return GuardedStore(zarr.storage.LocalStore(root, read_only=True), root, packing_of(document))


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
