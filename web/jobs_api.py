"""Jobs for scripts: ask for one, look at it, cancel it, start it again, follow it live, share what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import SecretStr

from pipeline.errors import ArchiveError, BusyError, ConflictError, FormError, TransientArchiveError
from pipeline.jobs import links
from pipeline.jobs.form import parse_request
from pipeline.jobs.job import DONE, NEEDS_TOKEN, Job
from pipeline.jobs.request import Submission
from pipeline.jobs.results import results_of
from web import api_models as models
from web.api import check_query
from web.errors import HttpError
from web.jobs_desk import (
    base_url,
    describe_job,
    describe_link,
    describe_mail,
    find_store,
    is_public,
    links_to,
    mails_about,
    show_time,
)
from web.jobs_events import follow

JOBS = Tag(name="jobs", description="Analyses of volumes in an archive: asked for, followed, and their results.")
ARCHIVE_SECONDS = 30.0  # after which it is worth while to ask an archive again that does not answer
OPTIONAL = frozenset({"email"})

blueprint = APIBlueprint("jobs_api", __name__, url_prefix="/api/v1")


@blueprint.post("/jobs", tags=[JOBS], responses={202: models.JobInfo})
def submit_job() -> tuple[Response, int, dict[str, str]]:
    """Ask for a job: `pipeline`, `col`, `exp`, `z_range`, `y_range`, `x_range`, `token`, and if wanted `email`.

    Parameters of the pipeline are further fields. The same request twice is one job, and both are told of it.
    """
    job, _created = find_store().create(check(read_fields(), OPTIONAL))
    return jsonify(describe_job(job)), 202, {"Location": f"/api/v1/jobs/{job.id}"}


@blueprint.post("/estimates", tags=[JOBS], responses={200: models.EstimateInfo})
def estimate_job() -> Response:
    """What a job would cost, by the same fields; nothing is created, but the archive is asked."""
    return jsonify(check(read_fields(), OPTIONAL).estimate)


@blueprint.get("/jobs", tags=[JOBS], responses={200: models.JobList})
def list_jobs(query: models.JobListQuery) -> Response:
    """Jobs, the newest first."""
    check_query()
    before = None if query.before is None else float(query.before)
    found = find_store().list((query.state,) if query.state else (), limit=int(query.limit), before=before)
    return jsonify(jobs=[describe_job(job) for job in found])


@blueprint.get("/jobs/<job>", tags=[JOBS], responses={200: models.JobInfo})
def get_job(path: models.JobPath) -> Response:
    """One job."""
    return jsonify(describe_job(find_store().get(path.job)))


@blueprint.delete("/jobs/<job>", tags=[JOBS], responses={202: models.JobInfo})
def delete_job(path: models.JobPath) -> tuple[Response, int]:
    """Cancel a job, as POST /jobs/{job}/cancel does."""
    return jsonify(describe_job(find_store().cancel(path.job))), 202


@blueprint.post("/jobs/<job>/cancel", tags=[JOBS], responses={202: models.JobInfo})
def cancel_job(path: models.JobPath) -> tuple[Response, int]:
    """Cancel a job; one that is computed ends as soon as its runner notices."""
    return jsonify(describe_job(find_store().cancel(path.job))), 202


@blueprint.post("/jobs/<job>/retry", tags=[JOBS], responses={202: models.JobInfo})
def retry_job(path: models.JobPath) -> tuple[Response, int]:
    """Start a job again that failed or was cancelled, or go on with one that waits for its `token`."""
    fields = read_fields(allowed=("token",))
    return jsonify(describe_job(start_again(path.job, fields.get("token", "")))), 202


@blueprint.get("/jobs/<job>/mails", tags=[JOBS], responses={200: models.MailList})
def list_mails(path: models.JobPath) -> Response:
    """The mails about a job, and why one was not sent."""
    return jsonify(mails=[describe_mail(mail) for mail in mails_about(find_store().get(path.job))])


@blueprint.post("/jobs/<job>/share", tags=[JOBS], responses={200: models.ShareInfo})
def share_job(path: models.JobPath) -> Response:
    """A new link that shows a job for a time, without a log-in; or, by `public`, open it to everybody, or close it.

    With `file`, the link leads to one file of results that lie in a bucket, which answers it itself; such a link lasts
    a week at most, and cannot be withdrawn.
    """
    fields = read_fields(allowed=("public", "file"))
    job = find_store().get(path.job)
    if "file" in fields:
        link = links.sign_file(results_of(finished(job)), fields["file"])
    elif "public" in fields:
        publish(job, fields["public"])
        link = links.page_link(job.id, base_url(), public=is_public(job))
    else:
        link = make_link(job)
    return jsonify(name=link.name, url=link.url, expires=show_time(link.expires), public=is_public(job))


@blueprint.get("/jobs/<job>/links", tags=[JOBS], responses={200: models.LinkList})
def list_links(path: models.JobPath) -> Response:
    """The signed links to a job, the newest first: those of its mails, too."""
    return jsonify(links=[describe_link(link) for link in links_to(find_store().get(path.job))])


@blueprint.delete("/jobs/<job>/links/<name>", tags=[JOBS], responses={200: models.LinkList})
def withdraw_link(path: models.LinkPath) -> Response:
    """Withdraw a link: it opens nothing any more."""
    job = find_store().get(path.job)
    withdraw(job, path.name)
    return jsonify(links=[describe_link(link) for link in links_to(job)])


@blueprint.get("/jobs/<job>/events", tags=[JOBS], responses={200: {"content": {"text/event-stream": {}}}})
def follow_job(path: models.JobPath) -> Response:
    """What happens to a job, as it happens (server-sent events): `state`, `note`, `stage`, and `end` when it is over.

    A stream lasts some minutes; Last-Event-ID goes on where it ended.
    """
    return follow(find_store(), find_store().get(path.job))


def read_fields(allowed: tuple[str, ...] | None = None) -> dict[str, str]:
    """The fields of a request's body, a JSON object of texts, numbers and truth values, or a form.

    Raises
    ------
    HttpError
        400, if it is something else; values are not repeated, since one may be a token.
    """
    if request.mimetype == "application/json" and request.content_length:
        document = request.get_json(silent=True)
        if not isinstance(document, dict):
            raise HttpError("The body is no JSON object.", 400, code="form", allowed="an object of fields")
        fields = {str(name): _as_text(str(name), value) for name, value in document.items() if value is not None}
    else:
        from web.jobs_fields import collect

        fields = collect(request.form)
    for name in fields:
        if allowed is not None and name not in allowed:
            raise HttpError(f"there is no field {name[:100]!r} here", code="form", allowed=", ".join(allowed))
    return fields


def _as_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and len(value) == 2 and all(type(end) is int for end in value):
        return f"{value[0]}, {value[1]}" if max(map(abs, value)) < 1 << 63 else "too large"
    if isinstance(value, str | int | float):
        try:
            return str(value)
        except ValueError:  # an integer of thousands of digits
            return "too large"
    raise FormError({name[:100]: "this is neither text nor a number"})


def check(fields: Mapping[str, str], optional: frozenset[str] = frozenset()) -> Submission:
    """What was asked for, checked up to the archive.

    Raises
    ------
    FormError
        With a reason for each field.
    BusyError
        If the archive does not answer.
    """
    try:
        return parse_request(fields, optional=optional)
    except TransientArchiveError as error:
        raise BusyError(error.message, "archive", ARCHIVE_SECONDS) from error
    except ArchiveError as error:
        raise HttpError(error.message, 400, code=error.code) from error


def start_again(job_id: str, token: str) -> Job:
    """Start a job again, or go on with one that needs a token.

    Raises
    ------
    FormError
        If the token is none, or one is needed.
    ConflictError
        If the job does not wait for that.
    """
    from pipeline.boss.tokens import check_token

    store, given = find_store(), token.strip()
    if not given:
        if store.get(job_id).state == NEEDS_TOKEN:
            raise FormError({"token": "this has to be filled in"})
        return store.retry(job_id, None)
    try:
        return store.retry(job_id, SecretStr(check_token(given)))
    except ArchiveError as error:
        raise FormError({"token": error.message}) from None


def finished(job: Job) -> Job:
    """The job itself.

    Raises
    ------
    ConflictError
        If it has no results.
    """
    if job.state != DONE:
        raise ConflictError(f"job {job.id} is {job.state}: there are no results", "results")
    return job


def make_link(job: Job) -> links.Link:
    """A new link to a job."""
    with find_store().transaction() as connection:
        return links.make_link(connection, job.id, base_url())


def withdraw(job: Job, name: str) -> None:
    """Let a link open nothing any more.

    Raises
    ------
    UnknownError
        If the job has none of this name.
    """
    with find_store().transaction() as connection:
        links.withdraw(connection, job.id, name)


def publish(job: Job, public: str) -> None:
    """Open a job to everybody who knows its name, or close it again.

    Raises
    ------
    FormError
        If the word is neither true nor false.
    """
    if public not in ("true", "false"):
        raise FormError({"public": "this is neither true nor false"})
    with find_store().transaction() as connection:
        links.publish(connection, job.id, public == "true")
