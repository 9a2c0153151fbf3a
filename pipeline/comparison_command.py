"""The command ``voxelforest compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline import console
from pipeline.options import AsJson, open_named

OUTSIDE = 1  # exit code

Result = Annotated[str, typer.Argument(help="A result of any format that is read.")]
Dataset = Annotated[str | None, typer.Option(help="Array inside that file, where there are several.")]
Axes = Annotated[str | None, typer.Option(help="Axes of that file in its order, such as zyxc.")]


def compare(
    ours: Result,
    theirs: Result,
    tolerance: Annotated[
        str,
        typer.Option(
            help="ilastik (at most 0.1 % of the values differ by 0.015 or more, none by 0.15 or more), "
            "or a number that no difference may exceed."
        ),
    ] = "ilastik",
    scale: Annotated[
        bool | None,
        typer.Option("--scale/--no-scale", help="Whether integers stand for 0..1; by default, where it fits."),
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the worst place into this .png.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a picture that exists.")] = False,
    dataset_ours: Dataset = None,
    dataset_theirs: Dataset = None,
    axes_ours: Axes = None,
    axes_theirs: Axes = None,
    as_json: AsJson = False,
) -> None:
    """How far two results are apart; leaves with 1 if further than the tolerance, with 2 if they cannot be compared."""
    from pipeline import comparison, comparison_report, display

    allowed = comparison.parse_tolerance(tolerance)
    if picture is not None:
        comparison_report.check_picture(picture, overwrite, (ours, theirs))
    with display.report(as_json) as progress:
        first = open_named(ours, progress.note, dataset=dataset_ours, axes=axes_ours)
        second = open_named(theirs, progress.note, dataset=dataset_theirs, axes=axes_theirs)
        found = comparison.compare(first, second, allowed, progress, scaled=scale)
    if picture is not None:
        comparison_report.draw(found, picture)
    console.show(comparison_report.describe(found), comparison_report.to_dict(found), as_json)
    if not found.within:
        raise typer.Exit(OUTSIDE)
