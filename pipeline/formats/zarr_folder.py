"""Where a Zarr hierarchy lies: a local folder, a web server or an object store; its documents and its listings."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import fsspec

from pipeline.errors import VolumeError
from pipeline.formats.retry import is_denied, retry
from pipeline.formats.source import one_line

# Nothing that was listed is kept: others write, too. Without the second, s3fs asks for the size before each object. It
# is `retry` that tries again; botocore and s3fs would each do so by themselves, 5 times 5 times as often.
S3_OPTIONS = {
    "use_listings_cache": False,
    "max_concurrency": 1,
    "config_kwargs": {"retries": {"total_max_attempts": 1}},
}
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, NotImplementedError)


@dataclass(frozen=True)
class Folder:
    """Where a hierarchy lies: a local folder, or a prefix of an object store or web server.

    Parameters
    ----------
    url : str
        Local path, or a URL that fsspec knows.
    """

    url: str
    local: bool
    system: Any = field(repr=False)
    root: str = field(repr=False)

    @classmethod
    def at(cls, url: str) -> Folder:
        """The folder at a path or URL; ImportError if its scheme needs a library that is missing."""
        if "://" not in url:
            return cls(url, True, fsspec.filesystem("file"), url)
        system, root = fsspec.core.url_to_fs(url, **options_of(url))
        return cls(url, False, try_once(system), root)

    def read(self, key: str) -> bytes | None:
        """The bytes of a document, None if there is none.

        Raises
        ------
        VolumeError
            With the code ``denied`` if it may not be read, without one if a server does not give it.
        """
        check_contained(self.root, key, self.local)
        try:
            data: bytes = retry(lambda: self.system.cat_file(f"{self.root}/{key}"))
        except ABSENT:
            return None
        except Exception as error:
            raise self._refusal(key, error) from error
        return data

    def answered_by(self, key: str) -> str:
        """The URL that a web server leads to for a document; the document's own where it does not lead elsewhere.

        Raises
        ------
        VolumeError
            As for `read`.
        """
        url = f"{self.root}/{key}"
        try:
            found = retry(lambda: self.system.info(url))
        except ABSENT:
            return url
        except Exception as error:
            raise self._refusal(key, error) from error
        return str(found.get("url", url))

    def check_bucket(self) -> None:
        """Refuse a bucket of S3 that does not exist, or that may not be listed: both look like an empty one.

        Raises
        ------
        VolumeError
            The message names the bucket.
        """
        if not self.url.startswith("s3://"):
            return
        bucket = self.root.split("/")[0]
        try:
            self.system.call_s3("head_bucket", Bucket=bucket)
        except FileNotFoundError as error:
            raise VolumeError(f"{self.url}: there is no bucket {bucket!r}") from error
        except Exception as error:
            raise self._refusal("", error) from error

    def _refusal(self, key: str, error: Exception) -> VolumeError:
        place = f"{self.url}/{key}".rstrip("/")
        if is_denied(error):
            text = "access is denied; check the credentials" if not self.local else "may not be read"
            return VolumeError(f"{place}: {text} ({one_line(error)})", code="denied")
        if type(error).__name__.startswith("NoCredentials"):
            text = "no credentials found; set AWS_PROFILE or AWS_ACCESS_KEY_ID, or FSSPEC_S3_ANON=true for public data"
            return VolumeError(f"{place}: {text}", code="denied")
        return VolumeError(f"{place}: cannot be read: {one_line(error)}")

    def children(self, path: str) -> list[str]:
        """Names below `path`, sorted; empty where the store cannot list them."""
        try:
            entries = retry(lambda: self.system.ls(f"{self.root}/{path}".rstrip("/"), detail=False))
        except ABSENT:
            return []
        except Exception as error:
            if self.local:
                raise
            if is_denied(error):
                return []  # many servers give out what they do not list
            raise self._refusal(path, error) from error
        return sorted({str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries})


def options_of(url: str) -> dict[str, Any]:
    """What fsspec is told about the server behind a URL."""
    return dict(S3_OPTIONS) if url.startswith("s3://") else {}


def try_once(system: Any) -> Any:
    """A file system of fsspec that leaves trying again to us."""
    if hasattr(system, "retries"):
        system.retries = 1
    return system


def check_contained(root: str, key: str, local: bool) -> None:
    """Refuse a key that leads out of `root`, through ``..`` or, in a local folder, through a link.

    Raises
    ------
    VolumeError
        With code ``unsafe_link``.
    """
    outside = ".." in key.split("/") or "\0" in key
    if local and not outside:
        base = os.path.realpath(root).rstrip(os.sep) + os.sep
        outside = not os.path.realpath(os.path.join(root, key)).startswith(base)
    if outside:
        raise VolumeError(f"{root}: {key!r} leads out of the folder; links are not followed there", code="unsafe_link")
