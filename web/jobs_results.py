"""What came of jobs, as files: tables, reports, and zarr folders that viewers read chunk by chunk.

A person who may use the server sees them below the job's page. Somebody with a signed link, or of a job that was made
public, sees them below ``/shared/``, without a log-in.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
from importlib.resources import files
from pathlib import PurePosixPath

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as WsgiResponse
from werkzeug.wsgi import wrap_file

from pipeline.errors import UnknownError
from pipeline.jobs import links
from pipeline.jobs.job import Job
from pipeline.jobs.picture import draw_job
from pipeline.jobs.results import results_of
from web.jobs_api import finished
from web.jobs_desk import find_store
from web.jobs_page import answer_shared

TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".zarray": "application/json",
    ".zattrs": "application/json",
    ".zgroup": "application/json",
}
SAVED = (".csv", ".parquet")
REVALIDATED = "private, no-cache"

blueprint = Blueprint("jobs_results", __name__)


@blueprint.get("/jobs/<job_id>/results/<path:name>")
def give_file(job_id: str, name: str) -> WsgiResponse:
    """A file of a job's results."""
    return _send(finished(find_store().get(job_id)), name)


@blueprint.get("/jobs/<job_id>/picture.png")
def give_picture(job_id: str) -> WsgiResponse:
    """A picture of what was found: a plane of the data, with the detections on it."""
    return _send_picture(finished(find_store().get(job_id)))


@blueprint.get("/shared/<key>/")
def show_shared(key: str) -> Response:
    """The page of a job for those who have a link to it."""
    response = answer_shared(_opened(key), f"/shared/{key}")
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex"
    return response


@blueprint.get("/shared/<key>/results/<path:name>")
def give_shared_file(key: str, name: str) -> WsgiResponse:
    """A file of results for those who have a link to them."""
    return _send(finished(_opened(key)), name)


@blueprint.get("/shared/<key>/picture.png")
def give_shared_picture(key: str) -> WsgiResponse:
    """The picture for those who have a link."""
    return _send_picture(finished(_opened(key)))


def _opened(key: str) -> Job:
    """The job that a link opens: by its signature, or by its name where it is public; where there are no jobs, none."""
    store = find_store()
    if store.exists:
        with store.connect() as connection:
            return store.get(key if links.is_public(connection, key) else links.check(connection, key))
    return store.get(key)


def _send(job: Job, name: str) -> WsgiResponse:
    found = results_of(job).open(name)
    suffix = PurePosixPath(name).suffix or PurePosixPath(name).name
    response = Response(
        wrap_file(request.environ, found.file), content_type=TYPES.get(suffix, "application/octet-stream")
    )
    response.direct_passthrough = True
    response.content_length = found.size
    response.set_etag(found.tag)
    response.last_modified = found.changed  # type: ignore[assignment]
    response.headers["Cache-Control"] = REVALIDATED
    if suffix == ".html":
        response.headers["Content-Security-Policy"] = _report_policy()
    elif suffix in SAVED:
        response.headers["Content-Disposition"] = f'attachment; filename="{job.key}-{PurePosixPath(name).name}"'
    with contextlib.ExitStack() as unused:
        unused.callback(found.file.close)  # by who reads the answer, unless nobody will
        response.make_conditional(request, accept_ranges=True, complete_length=found.size)
        if request.method != "HEAD" and response.status_code != 304:
            unused.pop_all()
    return response


@functools.cache
def _report_policy() -> str:
    """A report asks nobody and is not of this origin; the script that turns its picture is the only one that runs."""
    script = files("pipeline.report").joinpath("report.js").read_bytes()
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    return (
        "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
        f"script-src 'sha256-{digest}'"
    )


def _send_picture(job: Job) -> WsgiResponse:
    drawn = draw_job(results_of(job))
    if drawn is None:
        raise UnknownError("There is nothing to draw in these results.", "file")
    response = Response(drawn, content_type="image/png")
    response.headers["Cache-Control"] = REVALIDATED
    response.add_etag()
    return response.make_conditional(request)
