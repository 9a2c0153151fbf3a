"""gunicorn's threaded worker with bounds on what a slow or broken client can hold: threads, time, connections.

gunicorn reads a request in a thread, from a socket without a time limit: a client that sends half a head keeps the
thread for ever, and as many such clients as there are threads stop the server. Here a connection takes no thread
before its first byte is there, and one that exceeds its time is shut down, which wakes the thread that reads or
writes it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from typing import Any

from gunicorn.http import errors as http_errors
from gunicorn.workers.gthread import _DEFER, TConn, ThreadWorker

from pipeline.config import settings
from web.errors import PROBLEM

SECOND = 1.0  # between two looks at the clocks of connections

# What gunicorn finds wrong with a request before the app sees it; the first class that fits decides.
REFUSALS: tuple[tuple[type[Exception], int, str], ...] = (
    (http_errors.InvalidResponseHeader, 500, "Internal Server Error"),
    (http_errors.InvalidResponseHeaderName, 500, "Internal Server Error"),
    (http_errors.LimitRequestLine, 414, "URI Too Long"),
    (http_errors.LimitRequestHeaders, 431, "Request Header Fields Too Large"),
    (http_errors.ExpectationFailed, 417, "Expectation Failed"),
    (http_errors.ParseException, 400, "Bad Request"),
    (Exception, 500, "Internal Server Error"),
)


class Worker(ThreadWorker):
    """`gunicorn.workers.gthread.ThreadWorker` with deadlines."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadlines: dict[TConn, float] = {}
        self._lock = threading.Lock()
        self._next_look = 0.0

    def handle(self, conn: TConn) -> Any:
        """Answer a request in a thread of the pool, unless nothing of it has come yet."""
        if not conn.initialized and not conn.data_ready and not conn.wait_for_data(0.0):
            return _DEFER
        with self._until(conn, settings().head_seconds):
            return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Answer a request whose head has been read."""
        with self._lock:
            self._deadlines[conn] = time.monotonic() + settings().exchange_seconds
        return super().handle_request(req, conn)

    @contextlib.contextmanager
    def _until(self, conn: TConn, seconds: float) -> Any:
        with self._lock:
            self._deadlines[conn] = time.monotonic() + seconds
        try:
            yield
        finally:
            with self._lock:
                self._deadlines.pop(conn, None)

    def notify(self) -> None:
        """Called by the loop about once a second, or more often: look at the clocks."""
        super().notify()
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + SECOND
        with self._lock:
            late = [conn for conn, deadline in self._deadlines.items() if deadline < now]
            for conn in late:
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer a request that gunicorn could not read with a problem document."""
        status, title = next((status, title) for kind, status, title in REFUSALS if isinstance(exc, kind))
        if status == 500:
            self.log.error("request failed outside the app", exc_info=exc)
        detail = "This is not a request that HTTP allows." if status < 500 else "The log says why."
        document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        body = json.dumps({**document, "request_id": os.urandom(8).hex()}).encode()
        head = (
            f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: {PROBLEM}\r\n"
            f"Cache-Control: no-store\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with contextlib.suppress(OSError):  # who sent such a request may have gone
            client.settimeout(SECOND)
            client.sendall(head.encode() + body)
