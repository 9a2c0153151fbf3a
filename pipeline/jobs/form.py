"""The form for a job: its fields read, and checked against the pipelines there are and against the archive.

The page, the API and the command all come through `parse_request`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from pipeline.config import settings
from pipeline.errors import (
    ArchiveError,
    ChannelError,
    FormError,
    ParameterError,
    PipelineError,
    TokenError,
    UnknownVolumeError,
)
from pipeline.jobs.estimate import Estimate, estimate
from pipeline.jobs.fields import parse_range, shorten
from pipeline.jobs.request import JobRequest, Submission
from pipeline.suggestion import did_you_mean
from pipeline.volume_description import readable_bytes

if TYPE_CHECKING:
    from pipeline.analyses.analysis import Analysis
    from pipeline.boss import BossArchive, Experiment

FIELDS = ("pipeline", "col", "exp", "z_range", "y_range", "x_range", "email", "token")
SHOWN = ("keep_data",)  # parameters that are true unless said otherwise: the page of a job shows what they keep
LONGEST = 4096  # characters of one field
LONGEST_KEY = 180  # of the 255 that a folder and a channel may have


def parse_request(
    fields: Mapping[str, str],
    *,
    optional: Collection[str] = (),
    open_archive: Callable[[str | None], BossArchive] | None = None,
) -> Submission:
    """Read and check what somebody asks for, up to whether the archive lets them read it and write the results.

    Parameters
    ----------
    fields : mapping of str to str
        `FIELDS` and parameters of the pipeline, each by its name or as ``pipeline.name``; of other pipelines' there
        may be some of the second kind, which do not count.
    optional : collection of str
        Which of ``email`` and ``token`` may be missing.
    open_archive : callable, optional
        ``open_archive(token)`` gives the archive as that token may see it; by default the one of the settings.

    Raises
    ------
    FormError
        With a reason for each field that cannot be taken; nothing was done then.
    TransientArchiveError
        If the archive does not answer.
    """
    errors: dict[str, str] = {}
    known = _plain_fields(fields, optional, errors)
    analysis = _find_analysis(known.get("pipeline"), errors)
    parsed = {name: _parse(name, text, errors) for name, text in known.items()}
    values = _read_parameters(fields, analysis, errors)
    if errors or analysis is None:
        raise FormError({name: errors[name] for name in sorted(errors, key=_rank)})
    z, y, x = (parsed[f"{axis}_range"] for axis in "zyx")
    token = SecretStr(parsed["token"]) if "token" in parsed else None
    with (open_archive or _configured_archive)(parsed.get("token")) as archive:
        names = parsed["col"], parsed["exp"]
        push = settings().boss_push
        request = JobRequest(analysis.name, archive.url, *names, z, y, x, (), _as_json(values), push)
        if len(request.key) > LONGEST_KEY:
            raise FormError({"exp": f"the names are too long: results would be named {shorten(request.key)}"})
        request, cost = _fit(request, analysis, values, archive)
    with _beside("pipeline", ParameterError):
        digest = analysis.digest(request.source, values)
    return Submission(request, digest, cost, parsed.get("email"), token)


def _plain_fields(fields: Mapping[str, str], optional: Collection[str], errors: dict[str, str]) -> dict[str, str]:
    """Those of `FIELDS` that are filled in; the others have to be."""
    known = {}
    for name in FIELDS:
        text = fields.get(name, "")
        if len(text) > LONGEST:
            errors[name] = f"{len(text)} characters; {LONGEST} at most are read"
        elif text.strip():
            known[name] = text
        elif name not in optional:
            errors[name] = "this has to be filled in"
    return known


def _find_analysis(name: str | None, errors: dict[str, str]) -> Analysis | None:
    from pipeline.analyses import get, names

    if name is None:
        return None
    if name.strip(" ") not in names():
        near = did_you_mean(name, names())
        errors["pipeline"] = f"there is no pipeline {shorten(name)}; there are {', '.join(names())}{near}"
        return None
    return get(name.strip(" "))


def _parse(name: str, text: str, errors: dict[str, str]) -> Any:
    from pipeline.boss.address import check_name
    from pipeline.boss.tokens import check_token
    from pipeline.jobs.address import check_address

    readers: dict[str, Callable[[str], Any]] = {
        "pipeline": str,
        "col": functools.partial(check_name, "a collection"),
        "exp": functools.partial(check_name, "an experiment"),
        "email": check_address,
        "token": check_token,
    }
    try:
        return readers.get(name, parse_range)(text.strip(" "))
    except ValueError as error:
        errors[name] = str(error)
    except ArchiveError as error:
        errors[name] = error.message
    return None


def _read_parameters(fields: Mapping[str, str], analysis: Analysis | None, errors: dict[str, str]) -> dict[str, Any]:
    """Parameters of the analysis; its files come from the settings, never from a request."""
    from pipeline.analyses import names

    others = tuple(f"{name}." for name in names() if analysis is None or name != analysis.name)
    own = f"{analysis.name}." if analysis is not None else ""
    given: dict[str, str] = {}
    fields_of: dict[str, str] = {}
    for field, text in fields.items():
        name = field.removeprefix(own)
        if field in FIELDS or field.startswith(others) or not text.strip():
            continue
        fields_of[name] = field
        if len(text) > LONGEST:
            errors[field] = f"{len(text)} characters; {LONGEST} at most are read"
        elif name in given:
            errors[field] = "this is given twice"
        else:
            given[name] = text
    if analysis is None:
        return {}
    files = {parameter.name for parameter in analysis.parameters if parameter.server_only}
    for name in files & given.keys():
        errors[fields_of[name]] = "this names a file of the server, which no request may choose"
    shown = {parameter.name: "true" for parameter in analysis.parameters if parameter.name in SHOWN}
    usable = shown | {name: text for name, text in given.items() if name not in files}
    configured = settings().job_parameters.get(analysis.name, {})
    try:
        return analysis.check_parameters({**usable, **{name: configured.get(name) for name in files}})
    except ParameterError as error:
        for name, reason in error.reasons.items():
            errors[fields_of.get(name, "pipeline" if name in files else name)] = reason
        return {}


def _fit(
    request: JobRequest, analysis: Analysis, values: Mapping[str, Any], archive: BossArchive
) -> tuple[JobRequest, Estimate]:
    """Check a request against the archive; returns it with the channels that are read, and what it costs."""
    names = request.collection, request.experiment
    with _beside("exp", UnknownVolumeError), _beside("token", TokenError):
        experiment = archive.experiment(*names)
    _check_extent(request, experiment)
    there = tuple(channel.name for channel in experiment.channels)
    with _beside("exp", ChannelError):
        analysis.choose_channels(there, values)
        channels = analysis.read_channels(there, values)
    request = replace(request, channels=channels)
    cost = estimate(request, analysis, [str(channel.dtype) for channel in experiment.select(channels)])
    limit = int(settings().job_bytes)
    if cost.bytes > limit:
        size = f"{readable_bytes(cost.bytes)} in {len(channels)} channels"
        raise FormError({"z_range": f"the ranges hold {size}; {readable_bytes(limit)} at most are allowed"})
    with _beside("exp", UnknownVolumeError), _beside("token", TokenError):
        archive.open(*names, channels=channels, check=True)
        if request.push is not None:
            archive.check_pushing(request.push)
    return request, cost


def _check_extent(request: JobRequest, experiment: Experiment) -> None:
    errors = {}
    for axis in "zyx":
        try:
            experiment.check_range(axis, getattr(request, axis))
        except ArchiveError as error:
            errors[f"{axis}_range"] = error.message
    if errors:
        raise FormError(errors)


@contextlib.contextmanager
def _beside(field: str, *kinds: type[PipelineError]) -> Iterator[None]:
    """Put what the archive or the analysis refuses beside the field that it is about."""
    try:
        yield
    except kinds as error:
        raise FormError({field: error.message}) from None


def _configured_archive(token: str | None) -> BossArchive:
    from pipeline.boss import BossArchive

    return BossArchive(token=token)


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def _rank(field: str) -> tuple[int, str]:
    return (FIELDS.index(field) if field in FIELDS else len(FIELDS), field)
