"""What came of a job, wherever it lies: in the folder that it was made in, or below a prefix of a bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from pipeline.config import settings
from pipeline.durability import remove, write_errors
from pipeline.errors import PipelineError
from pipeline.jobs.job import Job
from pipeline.jobs.result_files import list_results, open_result_file

if TYPE_CHECKING:
    from pipeline.jobs.bucket_results import BucketResults
    from pipeline.volume import Volume

PLACE, FILES = "place", "files"  # in the record of a job whose results lie in a bucket


@dataclass(frozen=True)
class ResultFile:
    """A file of results, open.

    Parameters
    ----------
    file : binary file
        At its beginning.
    size : int
        Bytes.
    changed : float
        Seconds since 1970.
    tag : str
        Another one for other contents.
    """

    file: BinaryIO
    size: int
    changed: float
    tag: str


class Results(Protocol):
    """What a place of results can do."""

    @property
    def url(self) -> str: ...
    def exists(self) -> bool: ...
    def list(self) -> Mapping[str, int]: ...
    def open(self, path: str) -> ResultFile: ...
    def volume(self, path: str) -> Volume | None: ...
    def sign(self, path: str, seconds: float) -> str | None: ...
    def remove(self) -> None: ...
    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class FolderResults:
    """Results in a local folder.

    Parameters
    ----------
    folder : Path
    """

    folder: Path

    @property
    def url(self) -> str:
        """Where they lie."""
        return str(self.folder)

    def exists(self) -> bool:
        """Whether there are any."""
        return self.folder.exists()

    def list(self) -> Mapping[str, int]:
        """Names, each with its bytes; 0 of a zarr folder."""
        return list_results(self.folder)

    def open(self, path: str) -> ResultFile:
        """A file, its parts separated by ``/``.

        Raises
        ------
        UnknownError
            If there is none, or it is none of the results'.
        """
        file, about = open_result_file(self.folder, path)
        said = f"{about.st_ino}.{about.st_mtime_ns}.{about.st_size}"
        return ResultFile(file, about.st_size, about.st_mtime, hashlib.sha256(said.encode()).hexdigest()[:32])

    def volume(self, path: str) -> Volume | None:
        """An image among them, None if there is none of this name."""
        return open_image(str(self.folder / path)) if (self.folder / path).is_dir() else None

    def sign(self, path: str, seconds: float) -> str | None:
        """A URL that anybody can read a file by: there is none."""
        return None

    def remove(self) -> None:
        """Remove all of them.

        Raises
        ------
        WriteError
            If the system refuses.
        """
        if self.folder.exists():
            with write_errors(self.folder):
                remove(self.folder)


def results_of(job: Job) -> Results:
    """Where the results of a job are, or will be made."""
    place = job.results.get(PLACE)
    return FolderResults(job.folder) if place is None else _bucket_results(place, job.results[FILES])


def future_place(job: Job) -> BucketResults | None:
    """Where the results of a job are to be kept once they are made; None if that is where they are made.

    Raises
    ------
    MissingExtraError
        If what buckets need is not installed.
    """
    root = settings().job_results
    return None if root is None else _bucket_results(f"{root.rstrip('/')}/{job.id}", {})


def open_image(place: str) -> Volume | None:
    """An image, None if it cannot be opened."""
    from pipeline.volume import open_raw

    try:
        return open_raw(place)
    except PipelineError:
        return None


def _bucket_results(url: str, files: Mapping[str, int]) -> BucketResults:
    from pipeline.jobs.bucket_results import BucketResults

    return BucketResults(url, tuple(files.items()))
