"""The command ``voxelforest compare``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import console

if TYPE_CHECKING:
    from pipeline.progress import Progress
    from pipeline.volume import Volume

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
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable: JSON on stdout.")] = False,
) -> None:
    """How far two results are apart; leaves with 1 if further than the tolerance, with 2 if they cannot be compared."""
    from pipeline import comparison, comparison_report, display

    allowed = comparison.parse_tolerance(tolerance)
    if picture is not None:
        comparison_report.check_picture(picture, overwrite, (ours, theirs))
    with display.report(as_json) as progress:
        first = _open(ours, dataset_ours, axes_ours, progress)
        second = _open(theirs, dataset_theirs, axes_theirs, progress)
        found = comparison.compare(first, second, allowed, progress, scaled=scale)
    if picture is not None:
        comparison_report.draw(found, picture)
    console.show(comparison_report.describe(found), comparison_report.to_dict(found), as_json)
    if not found.within:
        raise typer.Exit(OUTSIDE)


def _open(path: str, dataset: str | None, axes: str | None, progress: Progress) -> Volume:
    from pipeline.axes import AxesGuessedWarning
    from pipeline.volume import open_raw

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AxesGuessedWarning)  # said in the line below
        volume = open_raw(path, dataset=dataset, axes=axes)
    progress.note(f"{volume.url}: {volume.axes_reason}")
    return volume
