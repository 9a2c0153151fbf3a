"""Chunks of object stores and web servers, as they are stored, on a local disk: for the blocks beside, fetched once.

The blocks of a run overlap, and a chunk at the border is read by up to eight of them. Chunks that were fetched lie
below ``scratch_dir`` for all processes of a machine, under names that hold when the volume was opened: a run never
takes what was fetched before it began, so a volume that changes is seen alike with it and without it. A file has a
check sum, since it is not flushed. Nothing here is needed: what cannot be kept or read is fetched.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from pathlib import Path

from pipeline.config import settings
from pipeline.durability import TEMPORARY
from pipeline.shelf import Shelf

SUM_BYTES = 16
SPARE_BYTES = 1 << 30  # that the disk has to have free besides
OLDEST_SECONDS = 24 * 3600.0


def folder() -> Path:
    """Where chunks lie."""
    return settings().scratch_dir or settings().data_dir / "chunks"


SHELF = Shelf(folder, lambda: settings().scratch_cache, OLDEST_SECONDS)


def path_of(opened: str, *parts: object) -> Path:
    """The file of a chunk, or of a part of one.

    Parameters
    ----------
    opened : str
        Another one each time that a volume is opened.
    *parts
        What tells it apart from others of the volume.
    """
    name = hashlib.blake2b(repr((opened, parts)).encode(), digest_size=20).hexdigest()
    return folder() / name[:2] / name[2:]


def load(path: Path) -> bytes | None:
    """What was kept under a path; None if there is nothing, or not what was written."""
    try:
        contents = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    data = contents[SUM_BYTES:]
    return data if _sum(data) == contents[:SUM_BYTES] else None


def keep(path: Path, data: bytes) -> None:
    """Keep what was fetched, if the setting and the disk allow."""
    if len(data) > settings().scratch_cache:
        return
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shutil.disk_usage(path.parent).free < len(data) + SPARE_BYTES:
            return
        temporary.write_bytes(_sum(data) + data)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        return
    SHELF.count(len(data))


def _sum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=SUM_BYTES).digest()
