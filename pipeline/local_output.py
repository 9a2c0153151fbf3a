"""An output in a local folder: made in ``out.partial.zarr`` beside it, and renamed at the end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.durability import ZARR_DOCUMENTS, DurableStore, lock, remove, sweep, sync_folder, unlock
from pipeline.errors import StoreError
from pipeline.metadata import OWN_KEY
from pipeline.writers import WRITERS

Record = Mapping[str, Any]


@dataclass(frozen=True)
class LocalOutput:
    """The paths of one output, all in one folder; its methods are those of `pipeline.output.Output`.

    Parameters
    ----------
    target : Path
        Where the finished output lies, absolute.
    """

    target: Path

    @property
    def partial(self) -> Path:
        """The zarr folder that the work goes into."""
        return self.target.with_name(f"{self.target.stem}.partial.zarr")

    @property
    def replaced(self) -> Path:
        """Where the output that is replaced lies for a moment."""
        return self.target.with_name(f"{self.target.stem}.replaced{self.target.suffix}")

    @property
    def temporary(self) -> Path:
        """The single file before it gets its name."""
        return self.target.with_name(f"{self.target.stem}.partial{self.target.suffix}")

    @property
    def name(self) -> str:
        """Its last part."""
        return self.target.name

    @property
    def single(self) -> bool:
        """Whether the output is one file rather than a zarr folder."""
        return self.target.suffix in WRITERS

    @property
    def free_bytes(self) -> int | None:
        """Space that is left on its disk."""
        return shutil.disk_usage(self.target.parent).free

    def made_by(self, record: Record) -> LocalOutput:
        """The output of a run with this record: the same."""
        return self

    def exists(self) -> bool:
        """Whether something has the target's name, be it a dangling link."""
        return os.path.lexists(self.target)

    def is_begun(self) -> bool:
        """Whether something has the partial output's name."""
        return os.path.lexists(self.partial)

    def finished_record(self) -> Record | None:
        """The record of what lies at the target."""
        return read_local_record(self.target)

    def partial_record(self) -> Record | None:
        """The record of the partial output."""
        return read_local_record(self.partial)

    def restore(self) -> None:
        """Put back an output that was set aside when a run was killed in the midst of replacing it."""
        if os.path.lexists(self.replaced):
            if self.exists():
                remove(self.replaced)
            else:
                self.replaced.rename(self.target)

    def check_replaceable(self) -> None:
        """Refuse to remove what is no output."""
        for path in (self.target, self.partial):
            if os.path.lexists(path) and not _is_replaceable(path):
                raise StoreError(f"{path} is not an output (a zarr folder or a file), it will not be overwritten")

    def discard(self) -> None:
        """Remove the partial output, whole or in part; what is finished stays."""
        if not self.is_begun():
            return
        if self.partial.is_dir() and not self.partial.is_symlink():
            lock(self.partial)
        try:
            remove(self.partial)
        finally:
            unlock(self.partial)

    def drop_empty(self) -> None:
        """Remove the folder of a run that was killed before it wrote anything."""
        if self.partial.is_dir() and not any(self.partial.iterdir()):
            self.partial.rmdir()

    def claim(self) -> None:
        """Make the partial output this process's, and tidy it."""
        if not self.is_begun():
            self.partial.mkdir()
            sync_folder(self.partial.parent)
        lock(self.partial)
        sweep(self.partial)

    def release(self) -> None:
        """Let go of the partial output."""
        unlock(self.partial)

    def zarr_store(self) -> DurableStore:
        """The store of the partial output."""
        return DurableStore(self.partial)

    def has(self, key: str) -> bool:
        """Whether the partial output has a document or a chunk."""
        return (self.partial / key).exists()

    def missing(self, folder: str, keys: Iterable[str]) -> Iterator[str]:
        """Those of the chunks of an array that are not there."""
        place = self.partial / folder
        return (key for key in keys if not (place / key).exists())

    def remove_folder(self, folder: str) -> None:
        """Remove a folder of the partial output."""
        remove(self.partial / folder)

    def publish(self) -> None:
        """Give the finished partial output its name."""
        if self.exists():
            self.target.rename(self.replaced)
        self.partial.rename(self.target)
        sync_folder(self.target.parent)
        self.release()
        if os.path.lexists(self.replaced):
            remove(self.replaced)


def read_local_record(path: Path) -> Record | None:
    """The record of an output, finished or partial; None if there is none that can be read."""
    if not path.is_dir():
        known = path.suffix in WRITERS and path.is_file()
        return WRITERS[path.suffix].read_record(path) if known else None
    return record_in({name: _text(path / name) for name in ("zarr.json", ".zattrs")})


def record_in(texts: Mapping[str, str | bytes | None]) -> Record | None:
    """The record in the root's documents, given by name."""
    for name in ("zarr.json", ".zattrs"):
        try:
            document = json.loads(texts[name] or "")
            record = document["attributes"][OWN_KEY] if name == "zarr.json" else document[OWN_KEY]
        except (ValueError, KeyError, TypeError):
            continue
        return record if isinstance(record, dict) else None
    return None


def _text(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _is_replaceable(path: Path) -> bool:
    if not path.is_dir():
        return path.is_file() or path.is_symlink()
    known = any((path / name).is_file() for name in ZARR_DOCUMENTS) or not any(path.iterdir())
    return path.suffix == ".zarr" and known
