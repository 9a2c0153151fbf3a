"""Objects of one bucket of S3: each put whole or not at all, asked for again after passing failures.

Credentials come by AWS's standard chain, the server from ``AWS_ENDPOINT_URL`` where that is set. All calls run in the
event loop of zarr, whose own reads and writes go through the same connections.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import s3fs
from zarr.core.sync import sync

from pipeline.formats.retry import is_denied, retry_async
from pipeline.formats.source import one_line
from pipeline.formats.zarr_folder import S3_OPTIONS, try_once

T = TypeVar("T")
AT_ONCE = 32  # requests of one call under way
CLOSE_SECONDS = 5.0
DELETED_AT_ONCE = 1000  # what S3 takes in one request


class Bucket:
    """A bucket; one for each name in a process, see `bucket`.

    All methods but `check` raise OSError, in one line, where the bucket does not do what is asked.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._system = try_once(s3fs.S3FileSystem(asynchronous=True, skip_instance_cache=True, **S3_OPTIONS))
        atexit.register(self.close)

    def close(self) -> None:
        """Close the connections; without it the event loop complains about them when the process ends."""
        client, self._system._s3 = self._system._s3, None
        if client is not None:
            sync(client.close(), timeout=CLOSE_SECONDS)

    def get(self, key: str) -> bytes | None:
        """An object's bytes, None if there is none."""
        return sync(self.get_async(key))

    def put(self, key: str, data: bytes) -> None:
        """Make or replace an object."""
        sync(self.put_async(key, data))

    def has(self, keys: Sequence[str]) -> list[bool]:
        """Whether there are objects of these keys."""
        return sync(_all_of(self.has_async, keys))

    def keys(self, prefix: str) -> list[str]:
        """The keys that begin with `prefix`."""
        return sync(self._keys(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """The keys that begin with `prefix`, and the bytes of each object."""
        return {entry["Key"]: entry["Size"] for entry in sync(self._entries(prefix))}

    def about(self, key: str) -> dict[str, Any] | None:
        """What the bucket knows of an object: ``ContentLength``, ``LastModified``, ``ETag``; None if there is none."""
        try:
            return sync(self._call("head_object", key, Key=key))
        except FileNotFoundError:
            return None

    def part(self, key: str, start: int, stop: int) -> bytes | None:
        """A part of an object, None if there is none."""
        return sync(self.get_async(key, start=start, end=stop))

    def put_files(self, files: Sequence[tuple[Path, str]]) -> None:
        """Make or replace objects from files, all at once; a large file goes up in parts, and is there whole or not."""
        sync(_all_of(self._put_file, files))

    def sign(self, key: str, seconds: int) -> str:
        """A URL by which an object can be read for a time without credentials."""
        url: str = sync(self._system._url(f"{self.name}/{key}", expires=seconds))
        return url

    def holds(self, prefix: str) -> bool:
        """Whether any key begins with `prefix`."""
        return sync(self._holds(prefix))

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; no error if they are not there."""
        parts = [keys[at : at + DELETED_AT_ONCE] for at in range(0, len(keys), DELETED_AT_ONCE)]
        sync(_all_of(self._delete, parts))

    def copy(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Copy objects inside the bucket, each from its first key to its second."""
        sync(_all_of(self._copy, pairs))

    async def get_async(self, key: str, **ranged: Any) -> bytes | None:
        """`get` for the event loop, all of an object or the part ``start``, ``end`` of it."""
        place = f"{self.name}/{key}"
        try:
            data: bytes = await self._ask(lambda: self._system._cat_file(place, **ranged), key)
        except FileNotFoundError:
            return None
        return data

    async def put_async(self, key: str, data: bytes) -> None:
        """`put` for the event loop."""
        try:
            await self._ask(lambda: self._system._pipe_file(f"{self.name}/{key}", data), key)
        except FileNotFoundError as error:
            raise self._no_bucket() from error

    async def has_async(self, key: str) -> bool:
        """`has` of one key for the event loop."""
        try:
            await self._call("head_object", key, Key=key)
        except FileNotFoundError:
            return False
        return True

    async def delete_async(self, key: str) -> None:
        """Delete one object."""
        await self._call("delete_object", key, Key=key)

    async def _put_file(self, pair: tuple[Path, str]) -> None:
        path, key = pair
        try:
            await self._ask(lambda: self._system._put_file(str(path), f"{self.name}/{key}"), key)
        except FileNotFoundError as error:
            raise self._no_bucket() from error

    async def _keys(self, prefix: str) -> list[str]:
        return [entry["Key"] for entry in await self._entries(prefix)]

    async def _entries(self, prefix: str) -> list[dict[str, Any]]:
        page = await self._page(Prefix=prefix)
        found = list(page.get("Contents", ()))
        while page.get("IsTruncated"):
            page = await self._page(Prefix=prefix, ContinuationToken=page["NextContinuationToken"])
            found += page["Contents"]
        return found

    async def _holds(self, prefix: str) -> bool:
        return bool((await self._page(Prefix=prefix, MaxKeys=1)).get("Contents"))

    async def _page(self, **options: Any) -> dict[str, Any]:
        try:
            return await self._call("list_objects_v2", options["Prefix"], **options)
        except FileNotFoundError as error:
            raise self._no_bucket() from error

    async def _delete(self, keys: Sequence[str]) -> None:
        wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        done = await self._call("delete_objects", keys[0], Delete=wanted)
        for refused in done.get("Errors", ()):
            text = f"{refused.get('Code')}: {refused.get('Message')}"
            raise OSError(f"s3://{self.name}/{refused.get('Key')}: cannot be deleted ({text})")

    async def _copy(self, pair: tuple[str, str]) -> None:
        source, key = pair
        await self._call("copy_object", key, Key=key, CopySource={"Bucket": self.name, "Key": source})

    async def _call(self, method: str, key: str, **options: Any) -> dict[str, Any]:
        found = await self._ask(lambda: self._system._call_s3(method, Bucket=self.name, **options), key)
        return dict(found)

    async def _ask(self, request: Callable[[], Awaitable[Any]], key: str) -> Any:
        """Ask with bounded tries; FileNotFoundError passes, all else comes out in one line."""
        try:
            return await retry_async(request)
        except FileNotFoundError:
            raise
        except Exception as error:  # of botocore, aiohttp or s3fs, and not all of them are OSErrors
            raise OSError(f"s3://{self.name}/{key}: {_reason(error)}") from error

    def _no_bucket(self) -> OSError:
        return OSError(f"there is no bucket {self.name!r}")


@functools.lru_cache(maxsize=8)
def bucket(name: str) -> Bucket:
    """The bucket of a name; keeps its connections."""
    return Bucket(name)


def _reason(error: Exception) -> str:
    if is_denied(error):
        return f"access is denied; check the credentials ({one_line(error)})"
    if type(error).__name__.startswith(("NoCredentials", "PartialCredentials")):
        return "no credentials found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return one_line(error)


async def _all_of(request: Callable[[Any], Awaitable[T]], items: Iterable[Any]) -> list[T]:
    """Results of a request for each item, `AT_ONCE` at a time; the first error ends it."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(item: Any) -> T:
        async with gate:
            return await request(item)

    return list(await asyncio.gather(*[one(item) for item in items]))
