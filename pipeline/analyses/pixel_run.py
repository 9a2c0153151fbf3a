"""Pixel classification from channels to a folder of results: the same run as ``voxelforest segment``, and a mask."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.analyses.analysis import AnalysisRequest
from pipeline.analyses.channels import ChannelSet
from pipeline.analyses.detection import MASK, DetectionWriter
from pipeline.analyses.documents import describe_origin, specify_image, write_documents
from pipeline.analyses.folder import ResultFolder, prepare
from pipeline.analyses.result import DETECTIONS, OBJECTS, AnalysisResult, open_result, read_provenance
from pipeline.analyses.sources import StackSource
from pipeline.blocks import Box, Index, grid
from pipeline.cluster import check_place, check_scheduler
from pipeline.clusters.terms import Terms
from pipeline.errors import CancelledError, ChannelError
from pipeline.formats.source import fingerprint_of
from pipeline.probability_map import ProbabilityMap, predicted_map
from pipeline.project import Project, open_project
from pipeline.run_steps import build_levels, connected, run_tasks
from pipeline.segmentation_request import SegmentationRequest
from pipeline.segmentation_run import segment_volume
from pipeline.store import Store, create
from pipeline.threshold_options import ThresholdOptions, choose_thresholding
from pipeline.thresholding import Thresholding
from pipeline.volume import Volume, open_raw

if TYPE_CHECKING:
    import pandas

SEGMENTATION, MEASURED = "segmentation.zarr", "objects.csv"
ALL = "All"


@dataclass(frozen=True, eq=False)
class _Work:
    """An analysis with all that follows from it."""

    request: AnalysisRequest
    folder: ResultFolder
    volume: Volume
    source: ProbabilityMap
    thresholding: Thresholding
    said: str


def analyse_pixels(request: AnalysisRequest) -> AnalysisResult:
    """Find the objects of a class and measure them.

    Parameters
    ----------
    request : AnalysisRequest

    Raises
    ------
    ProjectError, ChannelError, PlanError, StoreError, ClusterError
        Before any work is done; nothing is left behind then.
    ReadError, WriteError
        If data turns out damaged or the disk fills; what is finished stays for ``mode="resume"``.
    CancelledError
        On Ctrl-C; likewise.
    """
    check_scheduler(request.scheduler)
    project = open_project(str(request.parameters["project"]))
    check_place(request.scheduler, (*request.channels.paths, str(request.folder)))
    volume = stack(request.channels)
    source = predicted_map(project, volume)
    thresholding, said = _choose(request, project, source)
    folder = prepare(request.folder, request.digest, request.mode, (*request.channels.paths, project.path))
    if folder.finished:
        return open_result(folder.target)
    request.progress.note(said)
    try:
        _compute(_Work(request, folder, volume, source, thresholding, said))
        folder.publish()
    except KeyboardInterrupt:
        text = f"Interrupted. What is finished is kept in {folder.partial}; the same command with --resume goes on."
        raise CancelledError(text) from None
    finally:
        folder.close()
    return open_result(folder.target, reused=False)


def stack(channels: ChannelSet) -> Volume:
    """Channels as one volume.

    Raises
    ------
    ChannelError
        With the code ``dtype``, if their types differ.
    """
    types = {name: volume.dtype for name, volume in channels.items()}
    if len(set(types.values())) > 1:
        listed = ", ".join(f"{name} is {dtype}" for name, dtype in types.items())
        raise ChannelError(f"{listed}; a project takes channels of one type, choose some with inputs", code="dtype")
    return Volume(StackSource(dict(channels)), "czyx", "channels by name")


def _choose(request: AnalysisRequest, project: Project, source: ProbabilityMap) -> tuple[Thresholding, str]:
    given = request.parameters
    options = ThresholdOptions(
        channel=given["label"],
        threshold=given["threshold"],
        sigma=None if given["sigma"] is None else str(given["sigma"]),
        min_size=given["min_size"],
        max_size=given["max_size"],
    )
    names = source.channel_names
    return choose_thresholding(options, project, dims=source.dims, names=names, n_channels=source.n_channels)


def _compute(work: _Work) -> None:
    """Segment, take the mask out of what that left, and describe it."""
    request, folder = work.request, work.folder
    segmented, measured = folder.partial / SEGMENTATION, folder.scratch / MEASURED
    if read_provenance(folder.partial) is None:
        folder.scratch.mkdir(exist_ok=True)
        segment_volume(
            SegmentationRequest(
                work.source,
                segmented,
                work.thresholding,
                raw=work.volume,
                table=measured,
                cancelled=request.cancelled,
                mode="resume",
                scheduler=request.scheduler,
                workers=request.workers,
                terms=request.terms,
            ),
            request.progress,
        )
    block = work.source.block or request.channels.whole.shape
    image = partial(specify_image, request.channels, block, work.source.chunk)
    images = (image(MASK, "uint8", value_range=(0.0, 255.0)), image(OBJECTS, "uint64", reduce="stride", role="labels"))
    store = create(
        folder.partial / DETECTIONS,
        images,
        provenance=describe_origin(request),
        digest=fingerprint_of(request.digest, DETECTIONS),
        mode=folder.mode,
        final_axes="zyx",
    )
    with closing(store):
        if not store.finished:
            _mask(work, store, open_raw(segmented / "labels" / OBJECTS), block)
        if read_provenance(folder.partial) is None:
            _describe(work, _read_table(measured, request.channels))
        store.record["largest_label"] = (read_provenance(folder.partial) or {})["objects"]
        store.finish()


def _mask(work: _Work, store: Store, labels: Volume, block: Index) -> None:
    request = work.request
    writer = DetectionWriter(store, request.channels.whole)
    boxes = [box for box in grid(request.channels.whole, block) if not writer.is_written(box)]
    with connected(request.scheduler, request.workers, work.folder, Terms(tell=request.progress.note)) as client:
        with request.progress.stage("mask", blocks=len(boxes), voxels=sum(box.size for box in boxes)) as stage:
            key = f"mask-{request.digest[:16]}-{store.token[:16]}"
            run_tasks(
                client, _copy, boxes, key, (labels, writer), lambda box: stage.advance(box.size), request.cancelled
            )
        build_levels(client, store, request.progress, request.cancelled)


def _copy(labels: Volume, writer: DetectionWriter, box: Box) -> None:
    writer(box, labels.read(box)[:, 0].astype(np.uint64, copy=False))


def _read_table(path: Any, channels: ChannelSet) -> pandas.DataFrame:
    """The table of a segmentation with the columns that tables of analyses share."""
    import pandas

    table = pandas.read_csv(path)
    origin = channels.origin_zyx
    for k, axis in enumerate("zyx"):
        place = table[f"centroid_{axis}"].astype("int64") + origin[k]
        table.insert(1 + k, axis, place)
        table[f"position_{axis}"] += origin[k] * channels.spacing.get(axis, 1.0)
        for end in ("start", "stop"):
            table[f"bbox_{axis}_{end}"] += origin[k]
    table.insert(5, "measurable", True)
    table = table.drop(columns=[f"centroid_{axis}" for axis in "zyx"])
    return table.rename(columns={f"raw_{name}_sum": f"sum_{name}" for name in channels})


def _describe(work: _Work, table: pandas.DataFrame) -> None:
    links: Mapping[str, str] = {"segmentation": SEGMENTATION}
    write_documents(
        work.request,
        work.folder,
        table,
        volumes={ALL: DETECTIONS},
        links=links,
        said={"thresholding": work.said},
        thumbnails=None,
    )
