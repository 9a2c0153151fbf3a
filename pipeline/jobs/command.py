"""The commands ``voxelforest jobs ...``."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import console
from pipeline.options import AsJson, Scheduler, Workers

if TYPE_CHECKING:
    from pydantic import SecretStr

    from pipeline.jobs.job import Job
    from pipeline.jobs.store import JobStore

jobs = typer.Typer(
    help="Analyses of volumes in the archive: asked for, computed by a runner, told of.", no_args_is_help=True
)

JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="Id of a job, or as much of its beginning as is one job's alone.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="File with the archive's token for this job; else the runner's VOXELFOREST_BOSS_TOKEN serves."),
]
Ranged = Annotated[str, typer.Option(help='Start and stop in voxels, as "0, 24".')]


@jobs.callback()
def group() -> None:
    """Analyses of volumes in the archive: asked for, computed by a runner, told of."""


@jobs.command()
def submit(
    pipeline: Annotated[str, typer.Argument(help="Name of the analysis, as nomads-unsupervised.")],
    col: Annotated[str, typer.Option(help="Collection in the archive.")],
    exp: Annotated[str, typer.Option(help="Experiment in the archive.")],
    z_range: Ranged,
    y_range: Ranged,
    x_range: Ranged,
    email: Annotated[str | None, typer.Option(help="Who is told of the outcome.")] = None,
    token_file: TokenFile = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter of the analysis, as min_size=40.")
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say what it would cost, and ask for nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for a job; the same request twice is one job."""
    from dataclasses import asdict

    from pipeline.jobs.description import describe, describe_estimate, to_dict
    from pipeline.jobs.form import parse_request
    from pipeline.jobs.store import JobStore

    token = _read_token(token_file)
    fields = {"pipeline": pipeline, "col": col, "exp": exp, "z_range": z_range, "y_range": y_range, "x_range": x_range}
    fields |= {"email": email or "", "token": token.get_secret_value() if token is not None else ""}
    submission = parse_request({**_parameters(parameter or []), **fields}, optional=("email", "token"))
    if estimate:
        cost = submission.estimate
        typer.echo(json.dumps({"id": submission.id, **asdict(cost)}) if as_json else describe_estimate(cost))
        return
    job, created = JobStore().create(submission)
    console.show_note(describe_estimate(submission.estimate), as_json)
    console.show(describe(job), {**to_dict(job), "created_now": created}, as_json)


@jobs.command("list")
def list_(
    state: Annotated[list[str] | None, typer.Option(help="Those in this state; repeat it for several.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Jobs, the newest first."""
    from pipeline.jobs.description import describe_list, to_dict
    from pipeline.jobs.job import STATES
    from pipeline.jobs.store import JobStore

    unknown = [name for name in state or [] if name not in STATES]
    if unknown:
        raise typer.BadParameter(f"--state {unknown[0]!r}; allowed are {', '.join(STATES)}")
    found = JobStore().list(state or (), limit=limit)
    console.show(describe_list(found), {"jobs": [to_dict(job) for job in found]}, as_json)


@jobs.command()
def show(job: JobId, as_json: AsJson = False) -> None:
    """One job: its state, how far it is, what came of it."""
    from pipeline.jobs.store import JobStore

    _show(_find(JobStore(), job), as_json)


@jobs.command()
def watch(job: JobId, as_json: AsJson = False) -> None:
    """Follow a job until it has come to an end; the exit code is 0 if it is done."""
    from pipeline.jobs.job import DONE
    from pipeline.jobs.store import JobStore
    from pipeline.jobs.watching import follow

    store = JobStore()
    found = follow(store, _find(store, job).id, as_json)
    _show(found, as_json)
    raise typer.Exit(0 if found.state == DONE else 1)


@jobs.command()
def cancel(job: JobId, as_json: AsJson = False) -> None:
    """Cancel a job that waits or is computed."""
    from pipeline.jobs.store import JobStore

    store = JobStore()
    _show(store.cancel(_find(store, job).id), as_json)


@jobs.command()
def retry(job: JobId, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Start a job again that failed or was cancelled, or give one the token that it waits for."""
    from pipeline.jobs.store import JobStore

    store = JobStore()
    _show(store.retry(_find(store, job).id, _read_token(token_file)), as_json)


@jobs.command()
def share(
    job: JobId,
    file: Annotated[
        str | None, typer.Option(help="One file of results that lie in a bucket, which answers the link itself.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a link that shows a job and its results without a log-in, for a time."""
    from pipeline.errors import PlanError
    from pipeline.jobs import links
    from pipeline.jobs.description import link_to_dict
    from pipeline.jobs.results import results_of
    from pipeline.jobs.store import JobStore

    store = JobStore()
    found = _find(store, job)
    if file is not None:
        link = links.sign_file(results_of(found), file)
    else:
        with store.transaction() as connection:
            link = links.make_link(connection, found.id)
    if link.expires is None:
        text = "links are signed with VOXELFOREST_SECRET_KEY, which is not set; set the one that the server has"
        raise PlanError(text, code="secret_key")
    typer.echo(json.dumps(link_to_dict(link)) if as_json else link.url)


@jobs.command("links")
def list_links(job: JobId, as_json: AsJson = False) -> None:
    """The links that were made to a job, those of its mails too, the newest first."""
    from pipeline.jobs.store import JobStore

    store = JobStore()
    _show_links(store, _find(store, job), as_json)


@jobs.command()
def withdraw(
    job: JobId,
    link: Annotated[str, typer.Argument(metavar="LINK", help="Its name, as `jobs links` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Withdraw a link: it opens nothing any more."""
    from pipeline.jobs import links
    from pipeline.jobs.store import JobStore

    store = JobStore()
    found = _find(store, job)
    with store.transaction() as connection:
        links.withdraw(connection, found.id, link)
    _show_links(store, found, as_json)


@jobs.command()
def run(
    scheduler: Scheduler = "threads",
    workers: Workers = None,
    once: Annotated[bool, typer.Option("--once", help="Run one job, if one waits, and leave.")] = False,
    name: Annotated[str | None, typer.Option(hidden=True)] = None,
    while_open: Annotated[bool, typer.Option("--while-open", hidden=True)] = False,
) -> None:
    """Run jobs as they come, until told to stop; `voxelforest serve` does so by itself."""
    from pipeline.clusters.workers import parse_workers
    from pipeline.jobs.runner import Place
    from pipeline.jobs.service import configure_log, follow_parent, run_one, run_service

    place = Place(scheduler, parse_workers(workers))
    configure_log()
    if while_open:
        follow_parent()
    if once:
        raise typer.Exit(run_one(place, name or uuid.uuid4().hex))
    raise typer.Exit(run_service(place))


@jobs.command()
def check(scheduler: Scheduler = "threads") -> None:
    """Whether the scheduler answers, and its workers can run every pipeline."""
    from pipeline.analyses import names
    from pipeline.cluster import check_scheduler
    from pipeline.errors import AnalysisError, ClusterError
    from pipeline.jobs.readiness import check_workers

    check_scheduler(scheduler)
    usable, code = [], 0
    for name in names():
        try:
            check_workers(scheduler, name)
            usable.append(name)
        except (AnalysisError, ClusterError) as error:
            code = console.show_error(error.message, 1, False, error.code)
    console.show_note(f"{scheduler} can run {', '.join(usable) or 'no pipeline'}", as_json=False)
    raise typer.Exit(code)


def _show(job: Job, as_json: bool) -> None:
    from pipeline.jobs.description import describe, to_dict

    console.show(describe(job), to_dict(job), as_json)


def _show_links(store: JobStore, job: Job, as_json: bool) -> None:
    from pipeline.jobs import links
    from pipeline.jobs.description import describe_links, link_to_dict

    with store.connect() as connection:
        found = links.links_of(connection, job.id)
    console.show(describe_links(found), {"links": [link_to_dict(link) for link in found]}, as_json)


def _find(store: JobStore, text: str) -> Job:
    """The job of an id, or the only one whose id begins like this."""
    from pipeline.jobs.database import unknown_job

    found = store.find(text)
    if len(found) == 1:
        return store.get(found[0])
    if not found:
        raise unknown_job(text)
    raise typer.BadParameter(f"{len(found)} jobs begin with {text!r}: {', '.join(found[:5])}")


def _parameters(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for (name, equals, _), text in zip(pairs, given, strict=True):
        if not equals or not name:
            raise typer.BadParameter(f"--set {text!r}; write it as name=value")
    return {name: value for name, _, value in pairs}


def _read_token(path: Path | None) -> SecretStr | None:
    """The token in a file; only where the runner, another process, can read what this one locks away."""
    from pydantic import SecretStr

    from pipeline.boss.tokens import LONGEST_TOKEN, check_token
    from pipeline.config import settings
    from pipeline.errors import PlanError

    if path is None:
        return None
    if settings().secret_key is None:
        text = "--token-file needs VOXELFOREST_SECRET_KEY, here and for the runner: the token is encrypted under it"
        raise PlanError(f"{text}; or give the runner its token in VOXELFOREST_BOSS_TOKEN", code="secret_key")
    with path.open("rb") as file:
        return SecretStr(check_token(file.read(LONGEST_TOKEN + 2).decode("ascii", "replace").strip()))
