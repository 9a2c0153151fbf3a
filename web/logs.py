"""Logs as one JSON object a line on stderr, joined by the id of the request they belong to.

A request brings its id in ``X-Request-Id`` or is given one; the answer carries it. Nothing of a query is logged but
the names of its parameters, and no header at all: neither a token nor a person's search can get into a log.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, g, request

ACCESS = logging.getLogger("web.access")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
FIELDS = ("request_id", "method", "path", "parameters", "status", "bytes", "seconds", "client", "route")
SIGNED = re.compile(r"^(/shared/)[^/]+")  # who reads the log is not to open what the link opens
LONGEST_PATH = 500  # characters


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; the text of an exception is a member, not further lines."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        document |= {name: getattr(record, name) for name in FIELDS if getattr(record, name, None) is not None}
        if record.exc_info and record.exc_info[0] is not None:
            document["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(document, default=str)


class NoEpilogue(logging.Filter):
    """Leaves out what gunicorn says of a process that could not start: the process has said why."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be logged."""
        return not record.msg.startswith(("Worker (pid:%s) exited", "Shutting down: %s", "Reason: %s"))


def configure(level: int = logging.INFO) -> None:
    """Send what the server logs to stderr, one object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(NoEpilogue())
    for name in ("web", "gunicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level if name == "web" else logging.WARNING)


def register(app: Flask) -> None:
    """Give each request of an app an id, and log how it was answered."""
    app.before_request(_begin)
    app.after_request(_end)


def choose_id(given: str) -> str:
    """The id that a request brings, if it is one, else a new one."""
    return given if REQUEST_ID.fullmatch(given) else os.urandom(8).hex()


def _begin() -> None:
    g.began = time.perf_counter()
    g.request_id = choose_id(request.headers.get("X-Request-Id", ""))


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    tell(
        g.request_id,
        request.method,
        request.path,
        response.status_code,
        response.calculate_content_length(),
        time.perf_counter() - g.began,
        request.remote_addr,
        request.args,
    )
    return response


def tell(
    request_id: str,
    method: str,
    path: str,
    status: int,
    n_bytes: int | None,
    seconds: float,
    client: str | None,
    parameters: Iterable[str] = (),
) -> None:
    """Log how a request was answered."""
    if not ACCESS.isEnabledFor(logging.INFO):
        return
    ACCESS.info(
        "request",
        extra={
            "request_id": request_id,
            "method": method,
            "path": SIGNED.sub(r"\1…", path[:LONGEST_PATH]),
            "parameters": sorted(parameters)[:20] or None,
            "status": status,
            "bytes": n_bytes,
            "seconds": round(seconds, 6),
            "client": client,
        },
    )
