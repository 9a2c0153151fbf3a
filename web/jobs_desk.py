"""What the routes of jobs share: the store, jobs as documents for people and programs, and links to them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from flask import current_app, request

from pipeline.analyses import get, names
from pipeline.analyses.analysis import Analysis
from pipeline.config import settings
from pipeline.errors import PipelineError
from pipeline.jobs import links, outbox
from pipeline.jobs.job import DONE, Job
from pipeline.jobs.links import Link
from pipeline.jobs.outbox import Mail
from pipeline.jobs.results import results_of
from pipeline.jobs.store import JobStore

LOG = logging.getLogger("web")
Document = dict[str, Any]


def find_store() -> JobStore:
    """The jobs of this server."""
    store: JobStore = current_app.extensions["jobs"]
    return store


def find_analyses() -> dict[str, Analysis]:
    """The pipelines that can be chosen, by name; one that is broken is left out, and the log says why."""
    found = {}
    for name in names():
        try:
            found[name] = get(name)
        except PipelineError as error:
            LOG.warning("pipeline %s cannot be offered: %s", name, error.message)
    return found


def base_url() -> str:
    """Where people reach this server."""
    return (settings().public_url or request.host_url).rstrip("/")


def mails_about(job: Job) -> tuple[Mail, ...]:
    """The mails about a job."""
    with find_store().connect() as connection:
        return outbox.mails_of(connection, job.id)


def is_public(job: Job) -> bool:
    """Whether everybody may see a job's results."""
    with find_store().connect() as connection:
        return links.is_public(connection, job.id)


def links_to(job: Job) -> tuple[Link, ...]:
    """The signed links to a job."""
    with find_store().connect() as connection:
        return links.links_of(connection, job.id, base_url())


def describe_job(job: Job) -> Document:
    """A job for programs; addresses are not told in full, and no path of the server is."""
    asked = job.request
    place = f"/jobs/{job.id}"
    return {
        "id": job.id,
        "key": job.key,
        "state": job.state,
        "reason": job.reason,
        "cancel_asked": job.cancel_asked,
        "pipeline": asked.pipeline,
        "collection": asked.collection,
        "experiment": asked.experiment,
        "ranges": {axis: list(getattr(asked, axis)) for axis in "zyx"},
        "channels": list(asked.channels),
        "parameters": show_parameters(asked.parameters or {}),
        "push": asked.push,
        "created": show_time(job.created),
        "updated": show_time(job.updated),
        "started": show_time(job.started),
        "ended": show_time(job.ended),
        "runs": job.runs,
        "stages": [asdict(stage) for stage in job.stages],
        "objects": job.results.get("objects"),
        "pushed": dict(job.results.get("pushed", {})),
        "files": [f"{place}/results/{name}" for name in results_of(job).list()] if job.state == DONE else [],
        "told": [mask(address) for address in job.people],
        "urls": {"self": f"/api/v1{place}", "events": f"/api/v1{place}/events", "page": place},
    }


def describe_mail(mail: Mail) -> Document:
    """A mail for programs."""
    return {
        "to": mask(mail.recipient),
        "outcome": mail.outcome,
        "state": mail.state,
        "attempts": mail.attempts,
        "sent": show_time(mail.sent),
        "reason": mail.reason,
    }


def describe_link(link: Link) -> Document:
    """A signed link for programs."""
    return {
        "name": link.name,
        "url": link.url,
        "state": link.state,
        "made": show_time(link.made),
        "expires": show_time(link.expires),
        "to": None if link.recipient is None else mask(link.recipient),
    }


def mask(address: str) -> str:
    """An address as those may see it who are not meant by it.

    Examples
    --------
    >>> mask("ada.lovelace@lab.example")
    'a…@lab.example'
    """
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"


def show_time(seconds: float | None) -> str | None:
    """A time, seconds since 1970, as ISO 8601 has it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def show_parameters(parameters: Mapping[str, Any]) -> Document:
    """Values as they were given; of files of the server their names alone."""
    return {
        name: PurePath(value).name if isinstance(value, str) and "/" in value else value
        for name, value in parameters.items()
    }
