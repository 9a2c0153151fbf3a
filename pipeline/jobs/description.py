"""Jobs for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pipeline import markup
from pipeline.description import Section
from pipeline.jobs.estimate import Estimate
from pipeline.jobs.job import Job, StageProgress
from pipeline.jobs.letter import show_seconds
from pipeline.jobs.links import Link
from pipeline.jobs.results import results_of
from pipeline.volume_description import readable_bytes

NO_RESULTS: dict[str, Any] = {"objects": None, "volumes": {}, "links": {}, "pushed": {}}


def to_dict(job: Job) -> dict[str, Any]:
    """A job as one JSON-ready dictionary; who is told is not in it."""
    request = job.request
    return {
        "id": job.id,
        "key": job.key,
        "state": job.state,
        "reason": job.reason,
        "pipeline": request.pipeline,
        "collection": request.collection,
        "experiment": request.experiment,
        "ranges": {axis: list(getattr(request, axis)) for axis in "zyx"},
        "channels": list(request.channels),
        "parameters": dict(request.parameters),
        "created": _time(job.created),
        "started": _time(job.started),
        "ended": _time(job.ended),
        "stages": [asdict(stage) for stage in job.stages],
        "folder": results_of(job).url,
        **{name: job.results.get(name, nothing) for name, nothing in NO_RESULTS.items()},
    }


def describe(job: Job) -> tuple[Section, ...]:
    """A job as tables: what it is, and how far its stages are."""
    request = job.request
    ranges = " ".join(f"{axis}={a}:{b}" for axis, (a, b) in zip("zyx", (request.z, request.y, request.x), strict=True))
    size, channels = readable_bytes(request.voxels * job.voxel_bytes), len(request.channels)
    cost = f"{request.voxels:,} voxels, {channels} channel{'s' if channels != 1 else ''}, {size} to read{_took(job)}"
    rows = [
        ("job", job.id),
        ("state", job.state if job.reason is None else f"{job.state}: {job.reason}"),
        ("data", f"{request.archive} {request.collection}/{request.experiment} {ranges}"),
        ("parameters", ", ".join(f"{name}={value}" for name, value in request.parameters.items()) or "none"),
        ("cost", cost),
        ("created", _time(job.created) or ""),
        ("results", results_of(job).url if job.results else "none yet"),
    ]
    if job.results:
        rows.append(("objects", str(job.results.get("objects"))))
        rows += [("pushed", url) for url in job.results.get("pushed", {}).values()]
    stages = tuple((stage.name, *_amounts(stage)) for stage in job.stages)
    sections = [Section(request.pipeline, (), tuple(rows))]
    return (*sections, Section("Stages", ("stage", "blocks", "read", "left"), stages)) if stages else tuple(sections)


def to_html(job: Job) -> str:
    """A job as Jupyter shows it: the same tables, and a bar for each stage."""
    stages = [(stage.name, *_done(stage), ", ".join(filter(None, _amounts(stage)))) for stage in job.stages]
    return markup.tables(describe(job)[:1]) + (markup.bars("Stages", stages) if stages else "")


def describe_list(jobs: Sequence[Job]) -> tuple[Section, ...]:
    """Jobs as one table."""
    rows = tuple((_time(job.created) or "", job.state, job.id) for job in jobs)
    return (Section("Jobs", ("created", "state", "job"), rows),)


def describe_links(links: Sequence[Link]) -> tuple[Section, ...]:
    """The links to a job as one table."""
    rows = tuple(
        (link.name or "", link.state, _time(link.expires) or "", link.recipient or "", link.url) for link in links
    )
    return (Section("Links", ("link", "state", "until", "mailed to", "URL"), rows),)


def link_to_dict(link: Link) -> dict[str, Any]:
    """A link as one JSON-ready dictionary."""
    times = {"made": _time(link.made), "expires": _time(link.expires)}
    return {"name": link.name, "url": link.url, "state": link.state, **times, "to": link.recipient}


def describe_estimate(cost: Estimate) -> str:
    """What a job will cost, in a line."""
    minutes = max(1, round(cost.seconds / 60))
    return (
        f"{cost.voxels:,} voxels in {cost.channels} channels, {readable_bytes(cost.bytes)} to read, "
        f"about {minutes} min, {readable_bytes(cost.memory)} of memory"
    )


def _took(job: Job) -> str:
    """How long it took, or has taken."""
    if job.started is None:
        return ""
    return f", {show_seconds((job.ended or job.updated) - job.started)}{'' if job.ended else ' so far'}"


def _done(stage: StageProgress) -> tuple[int, int]:
    return (1, 1) if stage.finished else (stage.blocks_done, stage.blocks)


def _amounts(stage: StageProgress) -> tuple[str, str, str]:
    blocks = f"{stage.blocks_done} of {stage.blocks}"
    size = f"{readable_bytes(stage.bytes_done)} of {readable_bytes(stage.bytes)}" if stage.bytes else ""
    left = "" if stage.finished or stage.seconds_left is None else f"{stage.seconds_left:.0f} s"
    return blocks, size, left


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
