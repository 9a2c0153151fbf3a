"""What a segmentation is made from, as the command line names it: a project and a volume, or a map that exists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.errors import PlanError
from pipeline.options import open_named
from pipeline.probability_map import ProbabilityMap, given_map, natural_range, predicted_map
from pipeline.project import Project, open_project
from pipeline.region import parse_region
from pipeline.volume import Volume

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Reading:
    """How files are to be read, and which part of them.

    Parameters
    ----------
    dataset, axes, roi : str, optional
    level : int
    stage : int, optional
    dtype : str
        Of predicted probabilities.
    """

    dataset: str | None = None
    axes: str | None = None
    level: int = 0
    roi: str | None = None
    stage: int | None = None
    dtype: str = "float32"


@dataclass(frozen=True)
class Inputs:
    """What was opened: `raw` is missing if nothing but a map was named, `project` with any map."""

    source: ProbabilityMap
    raw: Volume | None
    project: Project | None
    paths: tuple[str, ...]


def open_project_inputs(project: str, raw: str, reading: Reading, tell: Tell) -> Inputs:
    """Open a project and the volume that it is applied to.

    Raises
    ------
    ProjectError, VolumeError, PlanError
        If one of them cannot be used, or they do not fit each other.
    """
    trained = open_project(project)
    volume = open_named(
        raw, tell, dataset=reading.dataset, axes=reading.axes, level=reading.level, project_axes=trained.axes
    )
    region = parse_region(reading.roi, volume.whole, volume.dims) if reading.roi is not None else None
    source = predicted_map(trained, volume, region=region, stage=reading.stage, dtype=reading.dtype)
    return Inputs(source, volume, trained, (trained.path, volume.url))


def open_map_inputs(given: str, raw: str | None, reading: Reading, tell: Tell) -> Inputs:
    """Open a probability map, and raw data of the same shape beside it.

    Raises
    ------
    VolumeError, PlanError
        If one of them cannot be used, or they do not fit each other.
    """
    found = open_named(given, tell, dataset=reading.dataset, axes=reading.axes, level=reading.level)
    low, high = natural_range(found)
    reason = "as the file says" if found.value_range is not None else f"as usual for {found.dtype}"
    tell(f"{found.url}: {low:g} to {high:g} stand for probabilities 0 to 1, {reason}")
    volume = None if raw is None else open_named(raw, tell, project_axes=found.source_axes.replace("c", ""))
    if volume is not None and _lengths(volume) != _lengths(found):
        raise PlanError(
            f"{volume.url} is {_lengths(volume)}, the probabilities are {_lengths(found)}; they must be the same",
            code="shape",
        )
    region = parse_region(reading.roi, found.whole, found.dims) if reading.roi is not None else None
    paths = (found.url, *([volume.url] if volume is not None else []))
    return Inputs(given_map(found, region=region), volume, None, paths)


def _lengths(volume: Volume) -> str:
    return " ".join(f"{axis}={n}" for axis, n in zip(volume.dims, volume.shape, strict=True) if axis != "c")
