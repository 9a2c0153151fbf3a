"""How requests to the archive travel: time-outs, bounds on answers, no redirects; and what a failure means.

intern sends through sessions of requests without any time-out, reads whatever comes, and follows redirects. Its
sessions are given this adapter instead.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter

from pipeline.config import settings
from pipeline.errors import ArchiveError, TokenError, TransientArchiveError, UnknownVolumeError
from pipeline.formats.chunk_sizes import BLOSC_HEADER, check_decoded
from pipeline.formats.retry import PASSING_STATUS, retry

T = TypeVar("T")
CONNECTIONS = 64  # that one session keeps; as many as threads may read at a time
PIECE = 1 << 18  # bytes taken from the network at a time
ROOM = 1 << 20  # bytes an answer may be longer than a block: lists of channels, frames of what does not compress
BLOSC = "application/blosc"


class PassingError(OSError):
    """A request failed in a way that may pass; the text says how."""


class BoundedAdapter(HTTPAdapter):
    """Sends a request and takes in the whole answer, within bounds on time and bytes."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send; see `requests.adapters.HTTPAdapter.send`."""
        limits = settings()
        options.update(stream=True, timeout=(limits.boss_connect_seconds, limits.boss_silence_seconds))
        until = time.monotonic() + limits.boss_answer_seconds
        response = super().send(request, *args, **options)
        try:
            content = _take_in(response, limits.boss_block_bytes + ROOM, until)
        finally:
            response.raw.release_conn()
        if response.status_code == 200 and request.headers.get("Accept") == BLOSC:
            _check_frame(content, limits.boss_block_bytes)
        response._content = content
        response._content_consumed = True
        return response


def _take_in(response: requests.Response, most: int, until: float) -> bytes:
    """The body, as it was sent: a compressed one was not asked for, and could be of any size."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        response.raw.close()
        raise PassingError("it answered in a compression that was not asked for")
    parts: list[bytes] = []
    size = 0
    while part := response.raw.read1(PIECE, decode_content=False):
        parts.append(part)
        size += len(part)
        if size > most or time.monotonic() > until:
            response.raw.close()
            raise PassingError(
                f"its answer is longer than {most:,} bytes"
                if size > most
                else f"its answer took longer than {settings().boss_answer_seconds:g} s"
            )
    return b"".join(parts)


def _check_frame(content: bytes, most: int) -> None:
    """Refuse a Blosc frame that is cut off, or would unpack to more than was asked for."""
    if len(content) < BLOSC_HEADER or int.from_bytes(content[12:16], "little") != len(content):
        raise PassingError(f"it sent {len(content):,} bytes that are no complete block")
    try:
        check_decoded("blosc", content, most)
    except ValueError as error:
        raise PassingError(f"its block cannot be right: {error}") from None


def judge(error: Exception, secret: str) -> Exception:
    """What a failed request means, without a trace of the request itself: it holds the token.

    Parameters
    ----------
    error : Exception
        Of requests, urllib3, Blosc, or intern.
    secret : str
        Blotted out of everything the server says.

    Returns
    -------
    PassingError
        If asking again may help.
    ArchiveError
        Of the class that fits, without saying what was asked for; the caller knows that.
    """
    if isinstance(error, PassingError | ArchiveError):
        return error
    response = getattr(error, "response", None)
    if isinstance(error, requests.HTTPError) and response is not None:
        return _judge_status(response, secret)
    return PassingError(_reason(error).replace(secret, "***"))


def _judge_status(response: requests.Response, secret: str) -> Exception:
    status = response.status_code
    said = _said(response).replace(secret, "***")
    if status in PASSING_STATUS:
        return PassingError(f"it answered {status}{said}")
    if status == 401:
        return TokenError(f"the archive does not accept the token; it is wrong or has expired{said}", code="bad_token")
    if status == 403:
        return TokenError(f"the token does not allow this{said}", code="forbidden")
    if status == 404:
        return UnknownVolumeError(f"the archive does not have this{said}", code="unknown")
    if 300 <= status < 400:
        return ArchiveError("the archive sends us elsewhere; check VOXELFOREST_BOSS_URL", code="url")
    return ArchiveError(f"the archive answered {status}{said}", code="refused")


def _said(response: requests.Response) -> str:
    """What the server says about an error, in brackets and one short line."""
    try:
        document = response.json()
    except ValueError:
        return ""
    text = document.get("message") or document.get("detail") if isinstance(document, dict) else None
    return f" ({' '.join(str(text).split())[:200]})" if text else ""


def _reason(error: Exception) -> str:
    """Why no usable answer came, for people."""
    limits = settings()
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {limits.boss_connect_seconds:g} s"
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return f"silence for {limits.boss_silence_seconds:g} s"
    if isinstance(error, requests.exceptions.JSONDecodeError):
        return "it answered something that is not JSON; is it a BOSS archive?"
    text = " ".join(str(error).split())
    if isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError | OSError):
        if "IncompleteRead" in text:
            return "its answer was cut off"
        found = re.search(r"\[(?:Errno|SSL)[^\]]*\] ([^'\"()]+)", text)
        return found[1].strip() if found else "the connection was dropped"
    return f"its answer cannot be understood: {text[:200] or type(error).__name__}"


def ask(request: Callable[[], T], place: str, secret: str) -> T:
    """What a request gives, tried again after failures that may pass.

    Parameters
    ----------
    request : callable
        May be called several times.
    place : str
        What it is about, for errors.
    secret : str
        Blotted out of them.

    Raises
    ------
    TokenError, UnknownVolumeError, ArchiveError
        At once.
    TransientArchiveError
        After ``boss_retries`` further tries.
    """

    def attempt() -> T:
        value, failed = outcome(request, secret)
        if failed is not None:
            raise failed
        return value  # type: ignore[return-value]

    failed: Exception
    try:
        return retry(attempt, settings().boss_retries)
    except ArchiveError as error:
        failed = type(error)(f"{place}: {error.message}", code=error.code)
    except PassingError as error:
        times = settings().boss_retries + 1
        failed = TransientArchiveError(f"{place}: no usable answer in {times} tries: {error}", code="unreachable")
    raise failed  # outside of the except clause: nothing of a request hangs on to it


def outcome(request: Callable[[], T], secret: str) -> tuple[T | None, Exception | None]:
    """What a request gave, or what its failure means; neither refers to the request, which holds the token."""
    try:
        return request(), None
    except MemoryError:
        raise
    except Exception as error:  # requests, urllib3, Blosc; ValueError, KeyError and RuntimeError of intern's parsing
        judged = judge(error, secret)
    judged.__context__ = judged.__cause__ = None
    judged.__traceback__ = None
    return None, judged


def guard(service: Any, url: str) -> None:
    """Give a service of intern our adapter, and take from its session what could lead elsewhere."""
    adapter = BoundedAdapter(pool_maxsize=CONNECTIONS)
    service.session.trust_env = False  # no ~/.netrc; what is in effect of the rest was read when intern made it
    service.session.mount("http://", adapter)
    service.session.mount("https://", adapter)
    service.session.headers["Accept-Encoding"] = "identity"
    proxies = requests.utils.get_environ_proxies(url)
    service.session_send_opts = {**service.session_send_opts, "allow_redirects": False, "proxies": proxies}
