"""What goes wrong, as HTTP: one table from classes to statuses, one form of body (RFC 9457 problem documents).

A problem says what was given and what is allowed; it never holds a stack trace, and nothing of an error that is the
server's own. Such an error goes to the log under the request's id, which the answer names.
"""

from __future__ import annotations

import http
import logging
import math
from collections.abc import Mapping
from typing import cast

from flask import Flask, Response, g, json, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.wrappers import Response as WsgiResponse

from pipeline import errors

LOG = logging.getLogger("web")
PROBLEM = "application/problem+json"
CLIENT_CLOSED = 499  # nginx's word for a client that has gone; nobody reads this answer
RETRY_SECONDS = 1.0


class HttpError(errors.RequestError):
    """A request that cannot be answered as it is.

    Parameters
    ----------
    message : str
        What was given, what is allowed, what to do.
    status : int
        400 and up, below 500.
    given, allowed : str, optional
        The same for programs.
    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        *,
        code: str | None = None,
        given: str | None = None,
        allowed: str | None = None,
    ) -> None:
        super().__init__(message, code)
        self.status = status
        self.given = given
        self.allowed = allowed


# The first class that fits decides; a class that is not here is a bug: 500.
STATUSES: tuple[tuple[type[BaseException], int], ...] = (
    (errors.ReadError, 500),
    (errors.VolumeError, 500),
    (errors.WriteError, 507),
    (errors.ProjectError, 400),
    (errors.ModelError, 400),
    (errors.PlanError, 400),
    (errors.AnalysisError, 400),
    (errors.TokenError, 403),
    (errors.UnknownVolumeError, 404),
    (errors.TransientArchiveError, 502),
    (errors.ArchiveError, 400),
    (errors.CatalogueError, 400),
    (errors.UnknownError, 404),
    (errors.GoneError, 410),
    (errors.ConflictError, 409),
    (errors.RegionError, 416),
    (errors.TooLargeError, 413),
    (errors.BusyError, 503),
    (errors.AbandonedError, CLIENT_CLOSED),
    (errors.RequestError, 400),
    (errors.ClusterError, 503),
    (MemoryError, 503),
    (ParseException, 400),  # a body in chunks that are none
)

# Statuses whose cause is the server's own business.
UNSAID = {
    500: "The server could not answer; its log says why, under the id in request_id.",
    507: "The server cannot write what has to be kept: its disk is full, or fails. Nothing was done.",
    502: "The archive does not answer as it should. Try again later.",
    503: "The server cannot compute this now: its workers do not answer, or memory is short. Try again later.",
}


def register(app: Flask) -> None:
    """Make every error of an app a problem document."""
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, answer)


def status_of(error: BaseException) -> int:
    """The status that an error is answered with; 500 if it should not have happened."""
    if isinstance(error, HttpError):
        return error.status
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def answer(error: Exception) -> Response:
    """The problem document of an error."""
    status = status_of(error)
    asked = isinstance(error, errors.RequestError)  # about the request, not about the server
    if status >= 500 and not asked:
        LOG.error("request failed", exc_info=error, extra={"request_id": g.get("request_id")})
    if asked or (status < 500 and isinstance(error, errors.PipelineError)):
        more = {name: getattr(error, name, None) for name in ("given", "allowed", "errors")}
        response = problem(status, error.message, code=error.code, **more)  # type: ignore[attr-defined]
    else:
        response = problem(status, UNSAID.get(status, "This is not a request that HTTP allows."))
    if status in (429, 503):
        seconds = getattr(error, "retry_after", RETRY_SECONDS)
        response.headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    return response


def problem(status: int, detail: str, **more: str | Mapping[str, str] | None) -> Response:
    """A problem document; `more` are further members, left out where None."""
    document = {
        "type": "about:blank",
        "title": _title(status),
        "status": status,
        "detail": detail,
        **{name: value for name, value in more.items() if value is not None},
        "request_id": g.get("request_id"),
    }
    response = Response(json.dumps(document), status, content_type=PROBLEM)
    response.headers["Cache-Control"] = "no-store"
    return response


def _title(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request"


def _answer_http(error: HTTPException) -> WsgiResponse:
    """Errors that Flask raises itself: unknown routes, methods, bodies that are too large."""
    if error.response is not None:  # a response that was raised
        return cast(WsgiResponse, error.response)
    if error.code is None or error.code < 400:  # redirects to the URL with a slash at its end
        return error.get_response()
    if isinstance(error, MethodNotAllowed):
        methods = ", ".join(sorted(error.valid_methods or ()))
        response = problem(405, f"{request.method} is not allowed here.", given=request.method, allowed=methods)
        response.headers["Allow"] = methods
        return response
    if error.code == 404:
        return problem(404, "There is nothing at this path; /doc lists the routes.", given=request.path)
    return problem(error.code, error.description or _title(error.code))
