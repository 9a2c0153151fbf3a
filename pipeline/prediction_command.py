"""The command ``voxelforest predict``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import console
from pipeline.formats import FORMATS
from pipeline.options import (
    AsJson,
    Axes,
    Dataset,
    Level,
    Logfile,
    MaxCost,
    PerformanceReport,
    Scheduler,
    Workers,
    open_named,
)

if TYPE_CHECKING:
    from pipeline.batch import Item, Outcome
    from pipeline.summary import Summary

FAILED = 1  # exit code
SUFFIXES = ", ".join(suffix for row in FORMATS for suffix in row.suffixes)

ProjectPath = Annotated[str, typer.Argument(metavar="PROJECT", help="ilastik project (.ilp).")]
Raw = Annotated[list[str], typer.Argument(metavar="RAW", help=f"Volumes: {SUFFIXES}; several, or a pattern in quotes.")]
Out = Annotated[
    str,
    typer.Argument(
        metavar="OUT",
        help="Output: .zarr (OME-Zarr), .h5 (as ilastik exports), .npy, .tif, .png. For several volumes a folder, "
        "or a name such as out/{nickname}_{output}.h5.",
    ),
]
Mask = Annotated[
    str | None, typer.Option(help="Volume of the same shape; where it is 0, results are 0 (segmentation: no class).")
]
Roi = Annotated[str | None, typer.Option(help="Part of the volume, as z=0:64,y=0:512,x=0:512.")]
StageNumber = Annotated[int | None, typer.Option(help="Stage of an Autocontext project; the last by default.")]
Outputs = Annotated[
    list[str] | None,
    typer.Option(help="probabilities, segmentation, uncertainty or features; repeat it for several in one pass."),
]
Dtype = Annotated[str, typer.Option(help="float32, uint8 or uint16; integers hold 0..1 as 0..max.")]
Compress = Annotated[bool, typer.Option("--compress", help="Compress an HDF5 output; Zarr always is.")]
Version = Annotated[str, typer.Option(help="OME-Zarr version, 0.5 or 0.4.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]


def predict(
    project: ProjectPath,
    raw: Raw,
    out: Out,
    dataset: Dataset = None,
    axes: Axes = None,
    level: Level = 0,
    mask: Mask = None,
    roi: Roi = None,
    stage: StageNumber = None,
    output: Outputs = None,
    dtype: Dtype = "float32",
    compress: Compress = False,
    ome_version: Version = "0.5",
    scheduler: Scheduler = "threads",
    workers: Workers = None,
    max_cost: MaxCost = None,
    logfile: Logfile = None,
    performance_report: PerformanceReport = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Predict a volume into a file, or several into a folder."""
    from pipeline import batch, display, summary
    from pipeline.clusters.terms import Terms
    from pipeline.clusters.workers import parse_workers
    from pipeline.project import open_project
    from pipeline.region import parse_region

    if resume and overwrite:
        raise typer.BadParameter("--resume and --overwrite exclude each other")
    trained = open_project(project)
    how_many = parse_workers(workers)
    terms = Terms(max_cost=max_cost, logfile=logfile, report=performance_report)
    outputs = tuple(output or ["probabilities"])
    with display.report(as_json) as progress:

        def run_one(item: Item) -> Summary:
            volume = open_named(
                item.raw, progress.note, dataset=dataset, axes=axes, level=level, project_axes=trained.axes
            )
            from pipeline.mask import open_mask
            from pipeline.run import Request, run

            request = Request(
                trained,
                volume,
                item.out,
                outputs=outputs,
                dtype=dtype,
                stage=stage,
                region=parse_region(roi, volume.whole, volume.dims) if roi is not None else None,
                mask=open_mask(mask, volume) if mask is not None else None,
                compress=compress,
                ome_version=ome_version,  # type: ignore[arg-type]
                mode="resume" if resume else "overwrite" if overwrite else "new",
                scheduler=scheduler,
                workers=how_many,
                terms=terms,
            )
            return run(request, progress)

        items = batch.arrange(raw, out, outputs) if batch.is_batch(raw, out) else ()
        outcomes = batch.run_all(items, run_one, progress)
        done = None if items else run_one(batch.Item(raw[0], out))
    if done is not None:
        typer.echo(json.dumps(summary.to_dict(done)) if as_json else "\n".join(summary.describe(done)))
    else:
        _show_all(outcomes, as_json)


def _show_all(outcomes: Sequence[Outcome], as_json: bool) -> None:
    """Print how each volume went; leaves with 1 if one failed."""
    from pipeline import batch

    document = batch.document(outcomes)
    if as_json:
        typer.echo(json.dumps(document))
    else:
        console.show(batch.describe(outcomes), document, as_json=False)
    if document["failed"]:
        raise typer.Exit(FAILED)
