"""The folder of results: made in ``OUT.partial`` beside it, and renamed when all that is in it is finished."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.analyses.result import read_provenance
from pipeline.collision import refuse_collision
from pipeline.durability import lock, make_folder, remove, sweep, sync_folder, unlock, write_errors, write_file
from pipeline.errors import StoreError
from pipeline.local_output import LocalOutput
from pipeline.output import Mode

STARTED = "started.json"
SCRATCH = "scratch"


@dataclass(frozen=True)
class ResultFolder:
    """A folder of results that is being made, or is finished; made by `prepare`.

    Parameters
    ----------
    target : Path
        Where it lies once it is finished.
    resumed : bool
        Whether a run before this one had begun it.
    finished : bool
        Whether it was there already.
    """

    target: Path
    resumed: bool = False
    finished: bool = False

    @property
    def partial(self) -> Path:
        """Where the work goes."""
        return self.target.with_name(f"{self.target.name}.partial")

    @property
    def replaced(self) -> Path:
        """Where results that are replaced lie for a moment."""
        return self.target.with_name(f"{self.target.name}.replaced")

    @property
    def scratch(self) -> Path:
        """For what goes from step to step."""
        return self.partial / SCRATCH

    @property
    def mode(self) -> Mode:
        """How outputs inside are begun."""
        return "resume" if self.resumed else "new"

    def publish(self) -> None:
        """Give the finished folder its name, in place of what was there.

        Raises
        ------
        WriteError
            If the system refuses.
        """
        with write_errors(self.target):
            shutil.rmtree(self.scratch, ignore_errors=True)
            (self.partial / STARTED).unlink(missing_ok=True)
            if _is_empty(self.target):
                self.target.rmdir()
            elif self.target.exists():
                self.target.rename(self.replaced)
            self.partial.rename(self.target)
            sync_folder(self.target.parent)
            self.close()
            if self.replaced.exists():
                remove(self.replaced)

    def abandon(self) -> None:
        """Give up: remove what was begun. Results that were to be replaced stay."""
        if not self.finished:
            with write_errors(self.partial):
                remove(self.partial)
        self.close()

    def close(self) -> None:
        """Leave what was begun to a later run."""
        unlock(self.partial)


def prepare(target: Path, digest: str, mode: Mode, inputs: Iterable[str] = ()) -> ResultFolder:
    """Begin a folder of results, go on with one, or find that it is finished.

    Parameters
    ----------
    target : Path
        Absolute; its parent exists.
    digest : str
        Of all that decides the results.
    mode : {"new", "resume", "overwrite"}
    inputs : iterable of str
        Paths that are read: no results go there.

    Raises
    ------
    StoreError
        If there is something that the mode does not allow to go on with or to replace; nothing was changed then.
    WriteError
        If the folder cannot be made.
    """
    if "://" in str(target) or not target.parent.is_dir():
        raise StoreError(f"results go to a local folder, and the one above must exist; {target} was given")
    refuse_collision(LocalOutput(target), inputs)
    folder = ResultFolder(target)
    with write_errors(target):
        _restore(folder)
    found, begun = read_provenance(target), _read_started(folder)
    if mode == "resume" and found is not None and found["digest"] == digest:
        return ResultFolder(target, finished=True)
    replaces = _check_target(target, found, mode, begun)
    if folder.partial.exists():
        if mode == "new":
            raise StoreError(f"{folder.partial} is left from an unfinished run; --resume goes on, --overwrite begins")
        if mode == "resume" and begun is not None and begun.get("digest") != digest:
            text = f"cannot go on with {folder.partial}: it was begun with other data or parameters"
            raise StoreError(f"{text}; run as before, or --overwrite")
    with write_errors(folder.partial):
        return _begin(folder, digest, mode == "resume" and begun is not None, replaces)


def _check_target(target: Path, found: dict[str, Any] | None, mode: Mode, begun: dict[str, Any] | None) -> bool:
    """Whether there are results that will be replaced; refuses to touch what may not be."""
    if not os.path.lexists(target) or _is_empty(target):
        return False
    if mode == "new":
        raise StoreError(f"{target} exists; choose another folder, or --overwrite it")
    if found is None:
        raise StoreError(f"{target} holds something else than results; choose another folder")
    if mode == "resume" and not (begun or {}).get("replaces"):
        raise StoreError(f"{target} holds results of other data or parameters; choose another folder, or --overwrite")
    return True


def _begin(folder: ResultFolder, digest: str, resumed: bool, replaces: bool) -> ResultFolder:
    if folder.partial.exists():
        lock(folder.partial)
        if not resumed:
            remove(folder.partial)
            unlock(folder.partial)
    if not resumed:
        make_folder(folder.partial)
        lock(folder.partial)
        write_file(folder.partial / STARTED, json.dumps({"digest": digest, "replaces": replaces}).encode())
    sweep(folder.partial)
    return ResultFolder(folder.target, resumed=resumed)


def _read_started(folder: ResultFolder) -> dict[str, Any] | None:
    try:
        document = json.loads((folder.partial / STARTED).read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _restore(folder: ResultFolder) -> None:
    """Put back results that were set aside when a run was killed in the midst of replacing them."""
    if folder.replaced.exists():
        if folder.target.exists():
            remove(folder.replaced)
        else:
            folder.replaced.rename(folder.target)


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())
