"""Requests to web servers and object stores: which failures are worth another try, and how often.

zarr-python and fsspec's HTTP give up at the first 503; S3's libraries are told to, so that the bound is one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pipeline.config import settings
from pipeline.errors import PipelineError

T = TypeVar("T")
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
PERMANENT = (PipelineError, FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)
CLIENTS = ("aiohttp", "botocore", "aiobotocore", "urllib3")  # whose own errors are those of a connection


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed a moment later."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status in PASSING_STATUS
    if isinstance(error, PERMANENT) or type(error).__name__.startswith("NoCredentials"):
        return False
    return isinstance(error, OSError | TimeoutError) or type(error).__module__.split(".")[0] in CLIENTS


def is_denied(error: Exception) -> bool:
    """Whether the server answered that this is not for the one who asks."""
    return isinstance(error, PermissionError) or getattr(error, "status", None) in (401, 403)


def retry(request: Callable[[], T], retries: int | None = None) -> T:
    """Call `request` until it succeeds, at most `retries` times more (``store_retries``) after passing failures."""
    for pause in _pauses(settings().store_retries if retries is None else retries):
        try:
            return request()
        except Exception as error:
            if not is_passing(error):
                raise
        time.sleep(pause)
    return request()


async def retry_async(request: Callable[[], Awaitable[T]]) -> T:
    """The same for a coroutine."""
    for pause in _pauses(settings().store_retries):
        try:
            return await request()
        except Exception as error:
            if not is_passing(error):
                raise
        await asyncio.sleep(pause)
    return await request()


def _pauses(retries: int) -> list[float]:
    """Seconds before each further try."""
    return [min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) for n in range(retries)]
