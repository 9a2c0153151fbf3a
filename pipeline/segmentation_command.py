"""The command ``voxelforest segment``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.options import AsJson, Axes, Dataset, Level, Logfile, PerformanceReport, Scheduler, Workers
from pipeline.prediction_command import (
    Compress,
    Dtype,
    Overwrite,
    Resume,
    Roi,
    StageNumber,
    Version,
)

if TYPE_CHECKING:
    from pipeline.progress import Progress
    from pipeline.segmentation_inputs import Reading
    from pipeline.segmentation_summary import SegmentationSummary
    from pipeline.threshold_options import ThresholdOptions

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PROJECT RAW OUT",
        help="ilastik project (.ilp), volume, and output: .zarr (image with labels), .h5, .tif, .npy, .png (labels "
        "alone). With --from, OUT alone.",
    ),
]
From = Annotated[
    str | None, typer.Option("--from", help="Probabilities that exist: of ours, ilastik's export, or any array.")
]
RawOption = Annotated[str | None, typer.Option("--raw", help="With --from: the volume to measure for the table.")]
Channel = Annotated[str | None, typer.Option(help="Class whose objects are wanted: its name, or its number from 0.")]
CoreChannel = Annotated[
    str | None, typer.Option(help="Hysteresis: class of the cores; by default that of the objects.")
]
Method = Annotated[str | None, typer.Option(help="simple or hysteresis; follows from the thresholds if not set.")]
Threshold = Annotated[float | None, typer.Option(help="Simple: probability from which on a voxel is in an object.")]
High = Annotated[float | None, typer.Option(help="Hysteresis: probability that cores reach.")]
Low = Annotated[float | None, typer.Option(help="Hysteresis: probability that objects reach.")]
Sigma = Annotated[str | None, typer.Option(help="Smoothing in voxels: one number, or z,y,x; 0 for none.")]
MinSize = Annotated[int | None, typer.Option(help="Smallest object that is kept, voxels.")]
MaxSize = Annotated[int | None, typer.Option(help="Largest object that is kept, voxels.")]
Connectivity = Annotated[str, typer.Option(help="face: voxels that share a face are connected; full: or a corner.")]
KeepIds = Annotated[bool, typer.Option("--keep-ids", help="ilastik's ids, in which removed objects leave gaps.")]
Table = Annotated[str | None, typer.Option(help="Measure the objects into this file: .csv or .parquet.")]
Preview = Annotated[str | None, typer.Option(help="Draw the objects of the middle plane into this .png.")]


def segment(
    paths: Paths,
    given: From = None,
    raw: RawOption = None,
    channel: Channel = None,
    threshold: Threshold = None,
    high: High = None,
    low: Low = None,
    sigma: Sigma = None,
    min_size: MinSize = None,
    max_size: MaxSize = None,
    connectivity: Connectivity = "face",
    core_channel: CoreChannel = None,
    method: Method = None,
    keep_ids: KeepIds = False,
    table: Table = None,
    preview: Preview = None,
    dataset: Dataset = None,
    axes: Axes = None,
    level: Level = 0,
    roi: Roi = None,
    stage: StageNumber = None,
    dtype: Dtype = "float32",
    compress: Compress = False,
    ome_version: Version = "0.5",
    scheduler: Scheduler = "threads",
    workers: Workers = None,
    logfile: Logfile = None,
    performance_report: PerformanceReport = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Find the objects of a class in a volume of any size: one id for each, and a table of measurements."""
    from pipeline import display, segmentation_summary
    from pipeline.clusters.terms import Terms
    from pipeline.clusters.workers import parse_workers
    from pipeline.segmentation_inputs import Reading
    from pipeline.threshold_options import ThresholdOptions

    if resume and overwrite:
        raise typer.BadParameter("--resume and --overwrite exclude each other")
    _check_paths(paths, given, raw, stage, dtype)
    options = ThresholdOptions(method, channel, core_channel, threshold, high, low, sigma, min_size, max_size)
    with display.report(as_json) as progress:
        done = _run(
            paths,
            given,
            raw,
            Reading(dataset, axes, level, roi, stage, dtype),
            options,
            progress,
            connectivity=connectivity,
            renumber=not keep_ids,
            table=table,
            preview=preview,
            compress=compress,
            ome_version=ome_version,
            mode="resume" if resume else "overwrite" if overwrite else "new",
            scheduler=scheduler,
            workers=parse_workers(workers),
            terms=Terms(logfile=logfile, report=performance_report),
        )
    document = segmentation_summary.to_dict(done)
    typer.echo(json.dumps(document) if as_json else "\n".join(segmentation_summary.describe(done)))


def _run(
    paths: Sequence[str],
    given: str | None,
    raw: str | None,
    reading: Reading,
    options: ThresholdOptions,
    progress: Progress,
    **how: Any,
) -> SegmentationSummary:
    from pipeline.segmentation_inputs import open_map_inputs, open_project_inputs
    from pipeline.segmentation_request import SegmentationRequest
    from pipeline.segmentation_run import segment_volume
    from pipeline.threshold_options import choose_thresholding

    if given is None:
        inputs = open_project_inputs(paths[0], paths[1], reading, progress.note)
    else:
        inputs = open_map_inputs(given, raw, reading, progress.note)
    source = inputs.source
    thresholding, said = choose_thresholding(
        options, inputs.project, dims=source.dims, names=source.channel_names, n_channels=source.n_channels
    )
    progress.note(said)
    request = SegmentationRequest(source, paths[-1], thresholding, raw=inputs.raw, inputs=inputs.paths, **how)
    return segment_volume(request, progress)


def _check_paths(paths: Sequence[str], given: str | None, raw: str | None, stage: int | None, dtype: str) -> None:
    wanted = 3 if given is None else 1
    if len(paths) != wanted:
        usage = "PROJECT RAW OUT" if given is None else "OUT alone, since --from names the probabilities"
        raise typer.BadParameter(f"{len(paths)} paths were given; wanted is {usage}")
    if given is None and raw is not None:
        raise typer.BadParameter("--raw goes with --from; without it, RAW is the second path")
    if given is not None and (stage is not None or dtype != "float32"):
        raise typer.BadParameter("--stage and --dtype are for predictions; --from takes probabilities as they are")
