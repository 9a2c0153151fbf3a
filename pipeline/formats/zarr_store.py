"""The store that arrays are read through: it looks at each chunk before a decoder does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import zarr.storage
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.sync import sync

from pipeline.errors import ReadError
from pipeline.formats.retry import retry_async
from pipeline.formats.zarr_folder import check_contained, options_of, try_once

DOCUMENTS = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
SETTLE_SECONDS = 10.0
BLOSC_HEADER = 16
BLOSC_LENGTH = slice(12, 16)  # where a Blosc frame says how many bytes it has


class GuardedStore(zarr.storage.WrapperStore[Store]):
    """Gives out nothing from outside a local store's folder, and no Blosc frame that is cut off.

    Blosc decodes a cut frame without an error, from whatever lies behind it in memory; the other codecs notice.

    Parameters
    ----------
    store : Store
        The store behind.
    root : str
        Path or URL, for messages and for links.
    blosc : bool
        Whether each chunk is one Blosc frame.
    """

    def __init__(self, store: Store, root: str, blosc: bool) -> None:
        super().__init__(store)
        self._root = root
        self._blosc = blosc

    def _with_store(self, store: Store) -> GuardedStore:
        return GuardedStore(store, self._root, self._blosc)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        check_contained(self._root, key, local="://" not in self._root)
        store = self._store
        data = await retry_async(lambda: store.get(key, prototype, byte_range))
        if self._blosc and data is not None and byte_range is None and not key.endswith(DOCUMENTS):
            check_frame(self._root, key, data[:BLOSC_HEADER].to_bytes(), len(data))
        return data

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
        return GuardedStore(remote, root, _is_blosc(document))
    return GuardedStore(zarr.storage.LocalStore(root, read_only=True), root, _is_blosc(document))


def _is_blosc(document: dict[str, Any]) -> bool:
    last = (document.get("codecs") or [document.get("compressor")])[-1]
    return isinstance(last, dict) and "blosc" in (last.get("id"), last.get("name"))


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
