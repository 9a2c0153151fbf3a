"""Jobs for people: the form and the list at /jobs, a page for each job, and the original's /submit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from flask import Blueprint, Flask, Response, redirect, render_template, request
from flask.blueprints import BlueprintSetupState
from werkzeug.wrappers import Response as WsgiResponse

from pipeline.config import settings
from pipeline.errors import BusyError, FormError, RequestError
from pipeline.jobs.estimate import Estimate
from pipeline.jobs.job import CANCELLED, DONE, FAILED, NEEDS_TOKEN, Event, Job
from pipeline.jobs.letter import show_seconds
from pipeline.jobs.mail import why_none_is_sent
from pipeline.jobs.results import results_of
from pipeline.jobs.store import JobStore
from pipeline.volume_description import readable_bytes
from web import jobs_api, jobs_fields
from web.errors import answer, status_of
from web.jobs_desk import (
    base_url,
    find_analyses,
    find_store,
    is_public,
    links_to,
    mails_about,
    mask,
    show_parameters,
    show_time,
)
from web.jobs_events import Streams
from web.jobs_viewer import make_viewer_url
from web.page import POLICY

LISTED = 50  # jobs on the page of all
LOGGED = 1000  # events of a job's log that its page holds
SAID = {"sent": "sent", "waiting": "not sent yet", "given up": "not sent, and given up"}

blueprint = Blueprint("jobs_page", __name__, template_folder="templates")


@blueprint.record_once
def _set_up(state: BlueprintSetupState) -> None:
    app = cast(Flask, state.app)
    app.extensions["jobs"] = JobStore()
    app.extensions["job_streams"] = Streams(settings().event_streams)
    shown = {"bytes": readable_bytes, "seconds": show_seconds, "mask": mask, "when": show_time, "mail_state": SAID.get}
    app.jinja_env.filters |= shown


@blueprint.get("/jobs")
@blueprint.get("/submit")
def show_form() -> Response:
    """The form for a job, and the jobs there are."""
    return _answer_form({}, {})


@blueprint.post("/submit")
def submit() -> WsgiResponse:
    """Ask for a job with the original service's fields: token, col, exp, z_range, y_range, x_range, pipeline, email.

    It leads to the page of the job. With what is wrong with a field beside it, the form comes back filled, but for the
    token; a script gets a problem document instead.
    """
    given: dict[str, str] = {}
    try:
        given = jobs_fields.collect(request.form)
        submission = jobs_api.check(given)
        if request.form.get(jobs_fields.ACTION) == "estimate":
            return _answer_form(given, {}, cost=submission.estimate)
        job, _created = find_store().create(submission)
    except RequestError as error:
        if not _wants_page():
            return answer(error)
        errors = error.errors if isinstance(error, FormError) else {}
        response = _answer_form(given, errors, None if errors else error.message)
        response.status_code = status_of(error)
        if isinstance(error, BusyError):
            response.headers["Retry-After"] = str(round(error.retry_after))
        return response
    return redirect(f"/jobs/{job.id}", 303)


@blueprint.get("/jobs/<job_id>")
def show_job(job_id: str) -> Response:
    """One job: its state, how far it is, what came of it."""
    return _answer_job(find_store().get(job_id))


@blueprint.post("/jobs/<job_id>/cancel")
def cancel(job_id: str) -> WsgiResponse:
    """Cancel a job."""
    return _change(job_id, lambda: find_store().cancel(job_id))


@blueprint.post("/jobs/<job_id>/retry")
def start_again(job_id: str) -> WsgiResponse:
    """Start a job again, or give it the token that it waits for."""
    return _change(job_id, lambda: jobs_api.start_again(job_id, request.form.get("token", "")))


@blueprint.post("/jobs/<job_id>/links")
def make_link(job_id: str) -> WsgiResponse:
    """Make a link for those who have no log-in."""
    job = find_store().get(job_id)
    return _change(job_id, lambda: jobs_api.make_link(job))


@blueprint.post("/jobs/<job_id>/links/<name>/withdraw")
def withdraw_link(job_id: str, name: str) -> WsgiResponse:
    """Let a link open nothing any more."""
    job = find_store().get(job_id)
    return _change(job_id, lambda: jobs_api.withdraw(job, name))


@blueprint.post("/jobs/<job_id>/share")
def share(job_id: str) -> WsgiResponse:
    """Open a job to everybody, or close it again."""
    job = find_store().get(job_id)
    return _change(job_id, lambda: jobs_api.publish(job, request.form.get("public", "")))


def answer_shared(job: Job, place: str) -> Response:
    """The page of a job for somebody who has a link: what it was and what came of it, and nothing to change.

    Parameters
    ----------
    place : str
        Path of the page, below which the results lie.
    """
    return _page("job.html", **_about(job, place), log=(), mails=(), share=None, shared=True, script=None)


def _change(job_id: str, act: Callable[[], object]) -> WsgiResponse:
    """Do something to a job and show it; what cannot be done is said on its page."""
    job = find_store().get(job_id)
    try:
        act()
    except RequestError as error:
        if not _wants_page():
            raise
        errors = error.errors if isinstance(error, FormError) else {}
        response = _answer_job(job, errors, None if errors else error.message)
        response.status_code = status_of(error)
        return response
    return redirect(f"/jobs/{job.id}", 303)


def _answer_form(
    given: Mapping[str, str], errors: Mapping[str, str], alert: str | None = None, cost: Estimate | None = None
) -> Response:
    analyses = find_analyses()
    fields = jobs_fields.make_fields(analyses, given, errors)
    groups = jobs_fields.make_groups(analyses, given, errors)
    shown = [*fields.values(), *(field for group in groups for field in group.fields)]
    known = {field.name for field in shown} | {field.name.rpartition(".")[2] for field in shown}
    stray = {name: reason for name, reason in errors.items() if name not in known}
    return _page(
        "jobs.html",
        fields=fields,
        groups=groups,
        stray=stray,
        alert=alert,
        cost=cost,
        jobs=find_store().list(limit=LISTED),
        no_mail=why_none_is_sent(),
        push=settings().boss_push,
        job_bytes=int(settings().job_bytes),
    )


def _answer_job(job: Job, errors: Mapping[str, str] | None = None, alert: str | None = None) -> Response:
    place = f"/jobs/{job.id}"
    share = None
    if job.state == DONE:
        signed = settings().secret_key is not None
        share = {"links": links_to(job), "signed": signed, "public": is_public(job)}
    return _page(
        "job.html",
        **_about(job, place),
        log=[_line(event) for event in find_store().events(job.id, limit=LOGGED) if event.kind in ("state", "note")],
        mails=mails_about(job),
        share=share,
        shared=False,
        errors=errors or {},
        alert=alert,
        no_mail=why_none_is_sent(),
        script={"job": f"/api/v1/jobs/{job.id}", "live": not job.finished and job.state != NEEDS_TOKEN},
    )


def _about(job: Job, place: str) -> dict[str, Any]:
    """What the page of a job tells to all who may see it."""
    done = job.state == DONE
    files = results_of(job).list() if done else {}
    return {
        "job": job,
        "place": place,
        "files": files,
        "viewer": make_viewer_url(job, base_url(), f"{place}/results") if done else None,
        "can_retry": job.state in (FAILED, CANCELLED),
        "parameters": show_parameters(job.request.parameters or {}),
        "took": None if job.started is None or job.ended is None else job.ended - job.started,
    }


def _line(event: Event) -> dict[str, Any]:
    """An event as a line of the log."""
    document = event.document
    reason = document.get("reason")
    text = document.get("text") or document.get("state", "") + (f": {reason}" if reason else "")
    return {"number": event.number, "time": event.time, "text": text}


def _wants_page() -> bool:
    """Whether a browser asks; scripts name no type, or another one."""
    return "text/html" in request.headers.get("Accept", "")


def _page(name: str, **values: Any) -> Response:
    response = Response(render_template(name, **values))
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    return response
