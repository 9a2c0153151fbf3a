"""Files that are whole or absent, whatever is killed and whenever the power goes.

A file is written to a temporary name in its folder, flushed to the disk, renamed, and then the folder is flushed,
so a name that exists stands for contents that will last. What a killed process leaves are files that end in
`TEMPORARY`, which nobody reads and `sweep` removes.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zarr.core.buffer import Buffer
from zarr.core.common import BytesLike
from zarr.storage import LocalStore

from pipeline.errors import StoreError, WriteError

TEMPORARY = ".partial"
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
    make_folder(path.parent)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


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
        If another running process holds it.
    """
    if folder in _locks:
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StoreError(f"{folder} is being written by another run; wait for it or choose another OUT") from None
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
def write_errors(path: Path) -> Iterator[None]:
    """Turn system errors of the block into a `WriteError` that names `path` and the system's reason."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise WriteError(f"cannot write {path}: {reason}; what is finished is kept, --resume goes on") from error
