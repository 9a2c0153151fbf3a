"""From options of ``voxelforest segment`` to thresholding settings: a project's own or ilastik's, changed as asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.errors import PlanError, ProjectError
from pipeline.project import Project
from pipeline.thresholding import Thresholding, find_channel, project_thresholding


@dataclass(frozen=True)
class ThresholdOptions:
    """What was asked for; None where nothing was.

    Parameters
    ----------
    method : str, optional
    channel, core_channel : str, optional
        Name or number.
    threshold, high, low : float, optional
    sigma : str, optional
        One number, or one for each spatial axis in the order z, y, x, with commas.
    min_size, max_size : int, optional
    """

    method: str | None = None
    channel: str | None = None
    core_channel: str | None = None
    threshold: float | None = None
    high: float | None = None
    low: float | None = None
    sigma: str | None = None
    min_size: int | None = None
    max_size: int | None = None

    @property
    def chosen_method(self) -> str | None:
        """The method that the options ask for, if they do."""
        if self.method is not None:
            return self.method
        if self.threshold is not None:
            return "simple"
        return "hysteresis" if self.high is not None or self.core_channel is not None else None


def choose_thresholding(
    options: ThresholdOptions,
    project: Project | None,
    *,
    dims: str,
    names: Sequence[str],
    n_channels: int,
) -> tuple[Thresholding, str]:
    """The settings to use, and a sentence that says which these are and where they come from.

    Parameters
    ----------
    options : ThresholdOptions
    project : Project, optional
        Its saved settings are the defaults.
    dims : str
        Axes of the data.
    names : sequence of str
        Of the channels, empty if they have none.
    n_channels : int

    Raises
    ------
    PlanError
        With the code ``threshold`` or ``channel``, naming what was given and what is allowed.
    ProjectError
        If the project's settings are needed and cannot be used.
    """
    _check_together(options)
    base, origin = _find_defaults(options, project)
    method = options.chosen_method or base.method
    changes: dict[str, Any] = {"method": method}
    if options.channel is not None:
        changes["channel"] = find_channel(options.channel, names, n_channels)
    if options.core_channel is not None:
        changes["core_channel"] = find_channel(options.core_channel, names, n_channels)
    elif options.channel is not None or method == "simple":
        changes["core_channel"] = changes.get("channel", base.channel)
    given = {"low": options.low, "high": options.high, "min_size": options.min_size, "max_size": options.max_size}
    if options.threshold is not None:
        given["low"] = options.threshold
    changes |= {name: value for name, value in given.items() if value is not None}
    if options.sigma is not None:
        changes["sigma_zyx"] = parse_sigma(options.sigma, dims)
    chosen = replace(base, **changes)
    for channel in chosen.channels:
        find_channel(channel, names, n_channels)
    changed = ", changed as asked" if chosen != base else ""
    named = f", {names[chosen.channel]!r}" if names else ""
    return chosen, f"thresholding: {chosen}{named} ({origin}{changed})"


def parse_sigma(text: str, dims: str) -> tuple[float, float, float]:
    """Sigma along z, y, x from one number, or one for each spatial axis that there is.

    Examples
    --------
    >>> parse_sigma("1.5", "zyx"), parse_sigma("2,1", "tyx")
    ((1.5, 1.5, 1.5), (1.0, 2.0, 1.0))
    """
    axes = "".join(axis for axis in "zyx" if axis in dims)
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, len(axes)):
        wanted = ",".join(axes)
        raise PlanError(f"sigma {text!r}; give one number, or one for each axis as {wanted}", code="threshold")
    by_axis = dict(zip(axes, values * (len(axes) if len(values) == 1 else 1), strict=True))
    alone = values[0] if len(values) == 1 else 1.0
    z, y, x = (by_axis.get(axis, alone) for axis in "zyx")
    return z, y, x


def _check_together(options: ThresholdOptions) -> None:
    two = options.high is not None or options.low is not None
    if options.threshold is not None and (two or options.method == "hysteresis"):
        raise PlanError(
            "--threshold is for simple thresholding; give --high and --low instead for hysteresis", code="threshold"
        )
    if options.method == "simple" and options.high is not None:
        raise PlanError("--high is for hysteresis; simple thresholding takes --threshold", code="threshold")
    if options.core_channel is not None and options.chosen_method == "simple":
        raise PlanError("--core-channel is for hysteresis; simple thresholding has no cores", code="threshold")


def _find_defaults(options: ThresholdOptions, project: Project | None) -> tuple[Thresholding, str]:
    ilastik = Thresholding(), "ilastik's defaults"
    if project is None:
        return ilastik
    try:
        saved = project_thresholding(project)
    except ProjectError as error:
        if options.chosen_method is None:
            advice = "choose settings with --threshold, or --high and --low"
            raise ProjectError(f"{error.message}; {advice}", code=error.code) from error
        return ilastik
    return ilastik if saved is None else (saved, "saved in the project")
