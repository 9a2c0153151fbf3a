"""Encoded answers that never change, kept in each front end up to a number of bytes, the least recently used go first.

`ImmutableAnswers` stands before the app and gives out what is kept without going through it: of a warm tile's time in
the app, most is routing, hooks and building a response. Whoever may not see an answer is left to the app, which
refuses in its own words.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from pipeline.errors import PipelineError
from web import logs

if TYPE_CHECKING:
    from flask import Flask

    from web.security import Guard

Headers = list[tuple[str, str]]

# What the guard looks at in a request for something that is there to be read.
TELLING = ("HTTP_HOST", "HTTP_ORIGIN", "HTTP_AUTHORIZATION", "HTTP_X_VOXELFOREST_TOKEN", "HTTP_COOKIE")
MOST_CALLERS = 1024
ROUTE = "/data (kept)"  # in the metrics
ENTRY_OVERHEAD = 1024  # bytes of the key, the headers and the objects around a body


@dataclass(frozen=True)
class Answer:
    """A body with its headers, `ETag` among them."""

    body: bytes
    headers: tuple[tuple[str, str], ...]

    @cached_property
    def etag(self) -> str:
        """As the headers have it, with quotes."""
        return dict(self.headers)["ETag"]


class ResponseCache:
    """Answers by path, bounded in bytes; safe to use from several threads.

    Parameters
    ----------
    limit : int
        Bytes of all bodies together; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._bytes = 0
        self._hits = self._misses = self._evictions = 0
        self._lock = threading.Lock()

    def get(self, path: str) -> Answer | None:
        """The answer kept for a path."""
        with self._lock:
            found = self._answers.get(path)
            if found is None:
                self._misses += 1
            else:
                self._answers.move_to_end(path)
                self._hits += 1
            return found

    def put(self, path: str, answer: Answer) -> None:
        """Keep an answer; others make room for it. One that is larger than an eighth of all is not kept."""
        cost = len(answer.body) + ENTRY_OVERHEAD
        if cost > self._limit // 8:
            return
        with self._lock:
            before = self._answers.pop(path, None)
            self._bytes += cost - (len(before.body) + ENTRY_OVERHEAD if before else 0)
            self._answers[path] = answer
            while self._bytes > self._limit:
                _, dropped = self._answers.popitem(last=False)
                self._bytes -= len(dropped.body) + ENTRY_OVERHEAD
                self._evictions += 1

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._answers.clear()
            self._bytes = 0

    def statistics(self) -> dict[str, int]:
        """How much is kept, and how often it was of use; numbers for people and dashboards."""
        with self._lock:
            return {
                "response_hits": self._hits,
                "response_misses": self._misses,
                "response_evictions": self._evictions,
                "cached_responses": len(self._answers),
                "cached_response_bytes": self._bytes,
                "limit_response_bytes": self._limit,
            }


class Admission:
    """The guard's word on a kind of caller, asked for once: for all its requests it is the same.

    Parameters
    ----------
    app : Flask
        With the guard among its extensions.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._admitted: dict[tuple[str | None, ...], Headers] = {}

    def ask(self, environ: WSGIEnvironment) -> Headers | None:
        """Headers to add to an answer; None for a caller that the app is to deal with."""
        caller = tuple(environ.get(name) for name in TELLING)
        found = self._admitted.get(caller)
        if found is None:
            found = self._judge(environ)
            if found is not None:
                if len(self._admitted) >= MOST_CALLERS:
                    self._admitted.clear()
                self._admitted[caller] = found
        return found

    def _judge(self, environ: WSGIEnvironment) -> Headers | None:
        guard: Guard = self._app.extensions["guard"]
        with self._app.request_context(environ):
            try:
                refused = guard.check()
            except PipelineError:
                return None
            empty = self._app.response_class()
            marked = guard.mark(empty).headers
        return None if refused is not None else [pair for pair in marked if not pair[0].startswith("Content-")]


class ImmutableAnswers:
    """WSGI application before another one: gives out kept answers to those who may see them.

    They are counted, and logged, like those of the app.

    Parameters
    ----------
    app : Flask
        With the guard and the metrics among its extensions.
    cache : ResponseCache
    """

    def __init__(self, app: Flask, cache: ResponseCache) -> None:
        self._app: WSGIApplication = app.wsgi_app
        self._cache = cache
        self._admission = Admission(app)
        self._extensions = app.extensions

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].startswith("/data/") and _is_plain(environ):
            began = time.perf_counter()
            answer = self._cache.get(environ["PATH_INFO"])
            added = self._admission.ask(environ) if answer is not None else None
            if answer is not None and added is not None:
                return self._give(answer, added, environ, start_response, began)
        return self._app(environ, start_response)

    def _give(
        self,
        answer: Answer,
        added: Headers,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        began: float,
    ) -> Iterable[bytes]:
        name = logs.choose_id(environ.get("HTTP_X_REQUEST_ID", ""))
        headers = [*answer.headers, *added, ("X-Request-Id", name)]
        known = environ.get("HTTP_IF_NONE_MATCH")
        status, body = (304, b"") if known is not None and answer.etag in known else (200, answer.body)
        if status == 304:
            start_response("304 NOT MODIFIED", headers)
        else:
            start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
        seconds = time.perf_counter() - began
        self._extensions["metrics"].count("GET", ROUTE, status, seconds, len(body))
        logs.tell(name, "GET", environ["PATH_INFO"], status, len(body), seconds, environ.get("REMOTE_ADDR"))
        return [body]


def _is_plain(environ: WSGIEnvironment) -> bool:
    return not environ.get("QUERY_STRING") and "HTTP_RANGE" not in environ
