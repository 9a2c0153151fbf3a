"""Projects that were uploaded: checked, kept as files in a folder, and there again after a restart."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import uuid4

from pipeline.config import settings
from pipeline.durability import sync_folder
from pipeline.errors import CatalogueError, ConflictError, PipelineError, ProjectError, TooLargeError
from pipeline.project import Project, open_project
from pipeline.serving.configuration import check_name

if TYPE_CHECKING:
    from pipeline.serving.catalogue import Catalogue

SUFFIX = ".ilp"
FOLDER = "projects"
PIECE = 1 << 20


class Uploads:
    """A folder of uploaded projects; safe to use from several threads and processes.

    Parameters
    ----------
    folder : Path
        Made when the first project comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Names of all projects that are there, in order."""
        return sorted(path.stem for path in self._folder.glob(f"*{SUFFIX}") if _is_name(path.stem))

    def load(self) -> Iterator[tuple[str, Project]]:
        """All projects that are there and can still be read."""
        for name in self.names():
            try:
                yield name, self.open(name)
            except PipelineError:  # damaged behind our back: the others are served all the same
                continue

    def open(self, name: str) -> Project:
        """One that is there.

        Raises
        ------
        ProjectError
            If it cannot be used.
        """
        return open_project(self._path(name))

    def has(self, name: str) -> bool:
        """Whether there is one of this name."""
        return _is_name(name) and self._path(name).is_file()

    def add(self, name: str, stream: IO[bytes]) -> Project:
        """Check an upload and keep it.

        Parameters
        ----------
        name : str
            What requests will call it.
        stream : file-like
            The bytes of an ilastik project.

        Raises
        ------
        CatalogueError
            If the name cannot be part of a URL.
        ConflictError
            If the name is taken by another project, or too many projects are kept.
        TooLargeError
            If it is larger than `upload_bytes`.
        ProjectError
            If it cannot be used, `code` says why; nothing is kept then.
        """
        check_name(name)
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f"{uuid4().hex}.partial"
        try:
            _copy(stream, temporary)
            project = _opened(temporary, name)
            with self._lock:
                self._publish(temporary, name, project)
        finally:
            temporary.unlink(missing_ok=True)
        return self.open(name)

    def _publish(self, temporary: Path, name: str, project: Project) -> None:
        if len(self.names()) >= settings().uploads and not self.has(name):
            raise ConflictError(f"{settings().uploads} uploaded projects are kept, more are not taken", code="uploads")
        try:
            os.link(temporary, self._path(name))  # unlike a rename, this never replaces what another process put there
        except FileExistsError:
            if self.open(name) != project:
                raise ConflictError(f"another project is called {name!r}; choose another name", code="name") from None
        sync_folder(self._folder)

    def _path(self, name: str) -> Path:
        return self._folder / f"{check_name(name)}{SUFFIX}"


def receive(catalogue: Catalogue, name: str, stream: IO[bytes]) -> Project:
    """Take an upload into a catalogue, which offers it on all volumes that it fits.

    Raises
    ------
    ConflictError
        If the name belongs to a project of the configuration, or the catalogue takes no uploads.
    CatalogueError, TooLargeError, ProjectError
        As `Uploads.add`.
    """
    if catalogue.uploads is None:
        raise ConflictError("this server takes no uploads", code="uploads")
    check_name(name)
    if name in catalogue.projects and not catalogue.uploads.has(name):
        raise ConflictError(f"a project of the configuration is called {name!r}; choose another name", code="name")
    project = catalogue.uploads.add(name, stream)
    catalogue.add_project(name, project)
    return project


def open_uploads() -> Uploads:
    """The uploads of this machine's servers, in `data_dir`."""
    return Uploads(settings().data_dir / FOLDER)


def _copy(stream: IO[bytes], target: Path) -> None:
    limit, written = settings().upload_bytes, 0
    with target.open("xb") as file:
        while piece := stream.read(PIECE):
            written += len(piece)
            if written > limit:
                raise TooLargeError(f"the file is larger than the {limit} bytes that are taken", code="upload_bytes")
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _opened(path: Path, name: str) -> Project:
    """The project of a file, whose errors speak of the name and not of where it lies for now."""
    try:
        return open_project(path)
    except ProjectError as error:
        raise ProjectError(error.message.replace(str(path), name), error.code) from error


def _is_name(stem: str) -> bool:
    try:
        check_name(stem)
    except CatalogueError:
        return False
    return True
