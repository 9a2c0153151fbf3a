"""What an analysis on the command line is to read: files by name, or an experiment of the archive; and pushing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.analyses.channels import ChannelSet
from pipeline.blocks import Box
from pipeline.boss import BossArchive, channel_name
from pipeline.boss.address import SCHEME, parse_address
from pipeline.boss.tokens import read_token
from pipeline.clusters.terms import Terms
from pipeline.clusters.workers import parse_workers
from pipeline.config import settings
from pipeline.errors import ChannelError, PlanError, StoreError
from pipeline.jobs.fields import parse_range
from pipeline.jobs.request import JobRequest
from pipeline.options import open_named
from pipeline.output import Mode
from pipeline.progress import Progress

if TYPE_CHECKING:
    from pipeline.analyses.analysis import Analysis
    from pipeline.analyses.result import AnalysisResult

Range = tuple[int, int]


@dataclass(frozen=True)
class Request:
    """The options of the command, as they were typed; see `pipeline.analysis_command`."""

    paths: list[str] | None = None
    host: str | None = None
    token_file: Path | None = None
    col: str | None = None
    exp: str | None = None
    z_range: str | None = None
    y_range: str | None = None
    x_range: str | None = None
    push: bool = False
    channels: str | None = None
    dataset: str | None = None
    axes: str | None = None
    level: int = 0
    scheduler: str = "threads"
    workers: str | None = None
    performance_report: str | None = None

    @property
    def ranges(self) -> dict[str, Range | None]:
        """Parts along z, y and x.

        Raises
        ------
        PlanError
            With the code ``region``, if a text is no range.
        """
        found: dict[str, Range | None] = {}
        for axis in "zyx":
            text = getattr(self, f"{axis}_range")
            try:
                found[axis] = parse_range(text) if text is not None else None
            except ValueError as error:
                raise PlanError(f"--{axis}-range: {error}", code="region") from None
        return found


@dataclass(frozen=True)
class Experiment:
    """An experiment of the archive and the part of it that is read."""

    collection: str
    name: str
    ranges: Mapping[str, Range | None]
    channels: tuple[str, ...]
    version: str | None = None


def analyse(
    analysis: Analysis, request: Request, parameters: Mapping[str, Any], mode: Mode, progress: Progress
) -> tuple[AnalysisResult, dict[str, str]]:
    """Run an analysis as asked; returns what it found, and the URLs of what was pushed.

    Raises
    ------
    PipelineError
        Whatever is refused, before any work is done.
    """
    place = find_experiment(request)
    workers = parse_workers(request.workers)
    how: dict[str, Any] = {
        "scheduler": request.scheduler,
        "workers": workers,
        "terms": Terms(report=request.performance_report),
        "mode": mode,
        "progress": progress,
        **parameters,
    }
    if place is None:
        *volumes, out = _paths(request)
        if request.push:
            raise StoreError("--push is for volumes of the archive: name one with --col and --exp")
        return analysis(open_files(volumes, request, progress), out, **how), {}
    with _archive(request) as archive:
        found = archive.experiment(place.collection, place.name)
        start, stop = found.region(*(place.ranges[axis] for axis in "zyx"))
        z, y, x = zip(start, stop, strict=True)
        there = tuple(channel.name for channel in found.channels)
        wanted = analysis.read_channels(place.channels or there, parameters)
        names = place.collection, place.name
        opened = archive.open(*names, z, y, x, channels=wanted, version=place.version, check=True)
        target = _target(archive, start, stop) if request.push else None
        result = analysis(ChannelSet.of(opened, origin_zyx=start), _folder(request), **how)
        if target is None:
            return result, {}
        key = JobRequest(analysis.name, archive.url, place.collection, place.name, z, y, x).key
        return result, {
            name: archive.push(target, channel_name(key, name), result.folder / file, start, progress=progress)
            for name, file in result.volumes.items()
        }


def find_experiment(request: Request) -> Experiment | None:
    """The experiment that was named, by --col and --exp or by a boss:// address; None for files.

    Raises
    ------
    PlanError
        If it is named by half, or twice.
    """
    addresses = [path for path in request.paths or () if path.startswith(SCHEME)]
    if (request.col is None) != (request.exp is None):
        raise PlanError("--col and --exp go together: the collection, and the experiment in it", code="region")
    if addresses and (request.col is not None or len(addresses) > 1):
        raise PlanError("one experiment at a time: --col with --exp, or one boss:// address", code="region")
    named = tuple(request.channels.split(",")) if request.channels else ()
    if request.col is not None and request.exp is not None:
        return Experiment(request.col, request.exp, request.ranges, named)
    if not addresses:
        return None
    address = parse_address(addresses[0])
    ranges = {axis: found or address.ranges.get(axis) for axis, found in request.ranges.items()}
    channels, version = named or address.channels, address.version or None
    return Experiment(address.collection, address.experiment, ranges, channels, version)


def open_files(volumes: list[str], request: Request, progress: Progress) -> ChannelSet:
    """The channels of the files that were named, cut to the ranges that were given.

    Raises
    ------
    VolumeError, ChannelError, PlanError
        If they cannot be opened as asked, or do not fit.
    """

    def open_one(path: str) -> Any:
        return open_named(path, progress.note, dataset=request.dataset, axes=request.axes, level=request.level)

    pairs = [_split_name(text) for text in volumes]
    if len(pairs) == 1 and pairs[0][0] is None:
        found = ChannelSet.of(open_one(pairs[0][1]))
    elif any(name is None for name, _ in pairs):
        raise ChannelError("several volumes are channels by name: give each as NAME=VOLUME", code="channels")
    else:
        twice = [name for name, _ in pairs if [other for other, _ in pairs].count(name) > 1]
        if twice:
            raise ChannelError(f"two channels are named {twice[0]}; names must differ", code="channels")
        found = ChannelSet.of({name: open_one(path) for name, path in pairs})
    if request.channels is not None:
        found = found.rename(request.channels.split(","))
    return found.cut(_region(request.ranges, found.whole))


def _split_name(text: str) -> tuple[str | None, str]:
    """Name and path of ``NAME=VOLUME``; an existing file may have a ``=`` in its name."""
    name, mark, path = text.partition("=")
    return (name, path) if mark and name and not Path(text).exists() and "://" not in name else (None, text)


def _region(ranges: Mapping[str, Range | None], whole: Box) -> Box:
    start, stop = list(whole.start), list(whole.stop)
    for k, axis in enumerate("zyx", 1):
        if ranges[axis] is None:
            continue
        low, high = ranges[axis] or (0, 0)
        if high > whole.stop[k]:
            raise PlanError(f"--{axis}-range {low},{high} reaches out of 0,{whole.stop[k]}", code="region")
        start[k], stop[k] = low, high
    return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]


def _paths(request: Request) -> list[str]:
    paths = list(request.paths or ())
    if len(paths) < 2:
        text = "give a VOLUME and the folder OUT, or an experiment of the archive with --col and --exp"
        raise PlanError(f"{len(paths)} paths were given; {text}", code="usage")
    return paths


def _folder(request: Request) -> str | None:
    """The folder of results of an archive's volume."""
    rest = [path for path in request.paths or () if not path.startswith(SCHEME)]
    if len(rest) > 1:
        raise PlanError(f"{', '.join(rest)} were given; an experiment is analysed into one folder", code="usage")
    return rest[0] if rest else None


@contextlib.contextmanager
def _archive(request: Request) -> Iterator[BossArchive]:
    url = request.host if request.host is None or "://" in request.host else f"https://{request.host}"
    token = read_token(request.token_file) if request.token_file is not None else None
    with BossArchive(url, token) as archive:
        yield archive


def _target(archive: BossArchive, start: tuple[int, ...], stop: tuple[int, ...]) -> str:
    """Where results are pushed to; asked beforehand whether that is allowed."""
    target = settings().boss_push
    if target is None:
        raise StoreError("--push needs VOXELFOREST_BOSS_PUSH=collection/experiment, where results go")
    archive.check_pushing(target, start_zyx=start, stop_zyx=stop)  # type: ignore[arg-type]
    return target
