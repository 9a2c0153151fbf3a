"""Results below a prefix of a bucket: put there when they are finished, whole or not at all, and read from there."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from pipeline.analyses.result import PROVENANCE
from pipeline.errors import BusyError, CancelledError, MissingExtraError, UnknownError, WriteError
from pipeline.jobs.fields import shorten
from pipeline.jobs.result_files import is_allowed, list_results
from pipeline.jobs.results import ResultFile, open_image
from pipeline.progress import Progress

if TYPE_CHECKING:
    from pipeline.bucket import Bucket
    from pipeline.volume import Volume

SCHEME = "s3://"
STAGE = "keep"
PUT_AT_ONCE = 8  # files
PART = 1 << 20  # bytes that are asked for at a time
AGAIN_SECONDS = 30.0


@dataclass(frozen=True)
class BucketResults:
    """Results whose last object, ``provenance.json``, says that nothing is missing.

    Parameters
    ----------
    url : str
        ``s3://bucket/prefix``.
    files : tuple of (str, int)
        Names and bytes, as `list` gives them: known from when they were put there.
    """

    url: str
    files: tuple[tuple[str, int], ...] = ()

    def exists(self) -> bool:
        """Whether there are any.

        Raises
        ------
        BusyError
            If the bucket does not answer.
        """
        with _reading():
            return self._bucket.about(self._key(PROVENANCE)) is not None

    def list(self) -> Mapping[str, int]:
        """Names, each with its bytes; 0 of a zarr folder."""
        return dict(self.files)

    def open(self, path: str) -> ResultFile:
        """A file, its parts separated by ``/``; it is read in parts.

        Raises
        ------
        UnknownError
            If there is none, or it is none of the results'.
        BusyError
            If the bucket does not answer.
        """
        key = self._key(path)
        with _reading():
            about = self._bucket.about(key) if is_allowed(path) else None
        if about is None:
            raise UnknownError(f"There is no file {shorten(path)} in these results.", "file")
        size = int(about["ContentLength"])
        file = io.BufferedReader(_Object(self._bucket, key, size), PART)
        return ResultFile(cast(BinaryIO, file), size, about["LastModified"].timestamp(), about["ETag"].strip('"'))

    def volume(self, path: str) -> Volume | None:
        """An image among them, None if there is none of this name."""
        return open_image(f"{self.url}/{path}")

    def sign(self, path: str, seconds: float) -> str | None:
        """A URL that anybody can read a file by, for a time.

        Raises
        ------
        UnknownError, BusyError
            As `open`.
        """
        self.open(path).file.close()
        with _reading():
            return self._bucket.sign(self._key(path), int(seconds))

    def check(self) -> None:
        """See whether the bucket is there and answers.

        Raises
        ------
        WriteError
            If not.
        """
        with _writing():
            self._bucket.holds(self._key(""))

    def keep(self, folder: Path, progress: Progress, cancelled: Callable[[], bool]) -> dict[str, int]:
        """Put the finished results of a folder here; returns what `list` will give.

        What a run before this one has put of the images is not put again. All else is, the word that nothing is
        missing at last; what lies here and does not belong to them is deleted.

        Raises
        ------
        WriteError
            If the bucket does not do what is asked; what was put stays.
        CancelledError
            If the work has to end.
        """
        wanted = {self._key(path.relative_to(folder).as_posix()): path for path in folder.rglob("*") if path.is_file()}
        last = self._key(PROVENANCE)
        with _writing():
            there = self._bucket.sizes(self._key(""))
            self._bucket.delete([last] * (last in there))
            self._bucket.delete([key for key in there if key not in wanted])
            final = [(wanted.pop(last), last)]
            todo = [(path, key) for key, path in sorted(wanted.items()) if not _is_there(folder, path, there.get(key))]
            with progress.stage(STAGE, blocks=len(todo), voxels=0) as stage:
                for part in _batches(todo):
                    if cancelled():
                        raise CancelledError("The work on this job was ended; what is finished stays.")
                    self._bucket.put_files(part)
                    for _ in part:
                        stage.advance()
            self._bucket.put_files(final)
        return list_results(folder)

    def remove(self) -> None:
        """Remove all of them; what says that they are whole goes first.

        Raises
        ------
        WriteError
            If the bucket does not do what is asked.
        """
        with _writing():
            self._bucket.delete([self._key(PROVENANCE)])
            self._bucket.delete(self._bucket.keys(self._key("")))

    @property
    def _bucket(self) -> Bucket:
        try:
            from pipeline.bucket import bucket
        except ImportError as error:
            raise MissingExtraError(f"{self.url}: needs s3fs: pip install 'voxelforest[cloud]'") from error
        return bucket(self.url.removeprefix(SCHEME).partition("/")[0])

    def _key(self, path: str) -> str:
        return f"{self.url.removeprefix(SCHEME).partition('/')[2]}/{path}"


class _Object(io.RawIOBase):
    """An object as a file that can be read from any place."""

    def __init__(self, bucket: Bucket, key: str, size: int) -> None:
        self._bucket, self._key, self._size, self._at = bucket, key, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        stop = min(self._at + len(target), self._size)
        if stop <= self._at:
            return 0
        data = self._bucket.part(self._key, self._at, stop)
        if data is None:
            raise OSError(f"{self._key} was removed")
        target[: len(data)] = data
        self._at += len(data)
        return len(data)


def _is_there(folder: Path, path: Path, size: int | None) -> bool:
    """Whether a file of an image was put before: of one request and of one size, they are the same."""
    return len(path.relative_to(folder).parts) > 1 and size == path.stat().st_size


def _batches(files: Sequence[tuple[Path, str]]) -> Iterator[Sequence[tuple[Path, str]]]:
    for at in range(0, len(files), PUT_AT_ONCE):
        yield files[at : at + PUT_AT_ONCE]


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """What a bucket does not do is worth another try later."""
    try:
        yield
    except OSError as error:
        raise BusyError(f"the results cannot be had now: {error}", "bucket", AGAIN_SECONDS) from error


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError(f"results cannot be kept: {error}", code="bucket") from error
