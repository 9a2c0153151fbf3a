"""Files that are whole or absent, whatever is killed and whenever the power goes.

A file is written to a temporary name in its folder, flushed to the disk, renamed, and then the folder is flushed,
so a name that exists stands for contents that will last. What a killed process leaves are files that end in
`TEMPORARY`, which nobody reads and `sweep` removes.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import itertools
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from io import RawIOBase
from pathlib import Path

from zarr.abc.store import Store
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.core.common import BytesLike
from zarr.core.sync import sync
from zarr.storage import LocalStore

from pipeline.errors import StoreError, WriteError

TEMPORARY = ".partial"
PUTS = 8  # files that a task hands to an object store at once, and holds meanwhile
ZARR_DOCUMENTS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")

_locks: dict[Path, int] = {}


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; flush the name of each new one."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def write_file(path: Path, contents: BytesLike) -> None:
    """Write a file that is whole once it has its name, making its folder where needed.

    Raises
    ------
    OSError
        As the system says; the temporary file is gone then, an older file of this name is as it was.
    """
    write_files([(path, contents)])


def write_files(files: Iterable[tuple[Path, BytesLike]]) -> None:
    """Write files as `write_file` does, and flush each folder once: half the time for the eight chunks of a block.

    Contents are taken one after the other and let go; while the next are made, a file is flushed.

    Raises
    ------
    OSError
        As the system says; then some of the files are written and the others are as they were.
    """
    written: list[tuple[Future[None], Path, Path]] = []
    with ExitStack() as left:
        try:
            for path, contents in files:
                make_folder(path.parent)
                temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
                left.callback(temporary.unlink, missing_ok=True)
                file = left.enter_context(temporary.open("wb", buffering=0))
                _write_all(file, contents)
                written.append((_flusher(os.getpid()).submit(os.fsync, file.fileno()), temporary, path))
            for flushed, _, _ in written:
                flushed.result()
        finally:
            wait([flushed for flushed, _, _ in written])  # before the files are closed
        for _, temporary, path in written:
            temporary.replace(path)
    for folder in {path.parent for _, _, path in written}:
        sync_folder(folder)


@functools.cache
def _flusher(process: int) -> ThreadPoolExecutor:
    """Threads that flush files, begun anew in a fork; kept, since one for each file made threads by the thousand."""
    return ThreadPoolExecutor(PUTS, f"flush-{process}")


def _write_all(file: RawIOBase, contents: BytesLike) -> None:
    rest = memoryview(contents).cast("B")
    while rest:
        rest = rest[file.write(rest) or 0 :]


def publish_file(temporary: Path, path: Path) -> None:
    """Flush a finished file to the disk and give it its name."""
    handle = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    temporary.replace(path)
    sync_folder(path.parent)


class DurableStore(LocalStore):
    """A zarr store in a local folder that writes each chunk and each document with `write_file`.

    zarr's own store also renames, but does not flush: it survives a killed process, not a power cut.
    """

    async def set(self, key: str, value: Buffer) -> None:
        """Write one file; runs in a thread of zarr's pool."""
        await asyncio.to_thread(self.set_sync, key, value)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write one file."""
        self._check_writable()
        write_file(self.root / key, value.as_buffer_like())

    def set_all(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write several files."""
        self._check_writable()
        write_files((self.root / key, contents) for key, contents in files)


def put_files(store: Store, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files, by their keys in a zarr store, so that they last; any other store than ours sees to that itself."""
    if isinstance(store, DurableStore):
        store.set_all(files)
    else:
        rest = iter(files)
        while some := list(itertools.islice(rest, PUTS)):  # made here: what makes them may ask the same event loop
            sync(_set_all(store, some))


async def _set_all(store: Store, files: Iterable[tuple[str, bytes]]) -> None:
    make = default_buffer_prototype().buffer.from_bytes
    await asyncio.gather(*(store.set(key, make(contents)) for key, contents in files))


def sweep(folder: Path) -> int:
    """Remove the temporary files that killed processes left; return how many."""
    found = [path for path in folder.rglob(f"*{TEMPORARY}") if path.is_file()]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder; a folder's own zarr documents last, so that it stays recognisable."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        for child in sorted(path.iterdir(), key=lambda child: child.name in ZARR_DOCUMENTS):
            shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
        path.rmdir()


def lock(folder: Path) -> None:
    """Claim a folder for this process until `unlock` or its end; again by the same process is no error.

    Raises
    ------
    StoreError
        With the code ``locked``, if another running process holds it.
    """
    if folder in _locks:
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        text = f"{folder} is being written by another run; wait for it or choose another OUT"
        raise StoreError(text, code="locked") from None
    except OSError:  # a file system without locks
        os.close(handle)
        return
    _locks[folder] = handle


def unlock(folder: Path) -> None:
    """Let go of a folder; no error if this process does not hold it."""
    handle = _locks.pop(folder, None)
    if handle is not None:
        os.close(handle)


@contextmanager
def write_errors(path: Path | str) -> Iterator[None]:
    """Turn system errors of the block into a `WriteError` that names `path` and the system's reason."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise WriteError(f"cannot write {path}: {reason}; what is finished is kept, --resume goes on") from error
