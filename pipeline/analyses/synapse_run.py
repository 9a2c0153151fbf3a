"""A synapse analysis from channels to a folder of results: detections, measurements, classes, table and report."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from distributed import Client

from numba_ops.warmup import BOXES, LABELS, MEASURES
from pipeline.analyses import boxes, channel_choice, classification, detection
from pipeline.analyses.analysis import AnalysisRequest
from pipeline.analyses.documents import write_documents
from pipeline.analyses.folder import ResultFolder, prepare
from pipeline.analyses.intensity import check_types
from pipeline.analyses.result import AnalysisResult, open_result, read_provenance
from pipeline.analyses.statistics import Pair, Statistics
from pipeline.analyses.synapse_files import SynapseFiles
from pipeline.analyses.synapse_stages import Stages, make_plan
from pipeline.analyses.synapse_table import make_synapse_table, places_of
from pipeline.analyses.thumbnails import Thumbnails
from pipeline.cluster import LOCAL_NAMES, check_place, check_scheduler
from pipeline.errors import CancelledError, ChannelError
from pipeline.run_steps import build_levels, compile_kernels, connected
from pipeline.volume_description import readable_bytes

if TYPE_CHECKING:
    from pipeline.analyses.model import CubeModel


def analyse_synapses(request: AnalysisRequest, model: CubeModel | None = None) -> AnalysisResult:
    """Find synapses, measure them, and with a model classify them.

    Parameters
    ----------
    request : AnalysisRequest
        Its channels are those that are measured.
    model : CubeModel, optional

    Raises
    ------
    ChannelError, PlanError, StoreError, ClusterError
        Before any work is done, and for a channel without contrast after the first pass; nothing is left behind then.
    ReadError, WriteError
        If data turns out damaged or the disk fills; what is finished stays for ``mode="resume"``.
    CancelledError
        On Ctrl-C; likewise.
    """
    check_scheduler(request.scheduler)
    check_place(request.scheduler, (*request.channels.paths, str(request.folder)))
    check_types(request.channels)
    plan = make_plan(request)
    folder = prepare(request.folder, request.digest, request.mode, request.channels.paths)
    if folder.finished:
        return open_result(folder.target)
    try:
        with closing(SynapseFiles.begin(request, folder, model, plan)) as files:
            if read_provenance(folder.partial) is None:
                with connected(request.scheduler, request.workers, folder, request.terms) as client:
                    _compute(request, folder, client, files)
            files.finish(folder)
        folder.publish()
    except KeyboardInterrupt:
        text = f"Interrupted. What is finished is kept in {folder.partial}; the same command with --resume goes on."
        raise CancelledError(text) from None
    except ChannelError:  # nothing can come of going on
        folder.abandon()
        raise
    finally:
        folder.close()
    return open_result(folder.target, reused=False)


def _compute(request: AnalysisRequest, folder: ResultFolder, client: Client, files: SynapseFiles) -> None:
    progress, parameters, model = request.progress, request.parameters, files.model
    if request.scheduler in LOCAL_NAMES:
        compile_kernels(progress, (BOXES, LABELS, MEASURES))
    pair = channel_choice.detection_channels(tuple(request.channels), parameters)
    stages = Stages(request, folder, client, Pair(request.channels, pair), files.detections)
    progress.note(_describe(stages, pair))
    found = stages.count()
    work = stages.make_map(found)
    threshold = stages.threshold(work, found)
    labels = stages.label(work, threshold)
    few = f"{int(labels.too_small):,} with fewer than {parameters['min_size']} voxels were left out"
    progress.note(f"{int(labels.kept):,} detections; {few}")
    objects = stages.measure_objects()
    places = places_of(objects)
    sums, classes = stages.measure_boxes(places, _box_work(stages, found, model))
    if parameters["legacy"] and model is not None:
        classes = classification.relabel_as_original(classes)
    names = files.class_names
    table = make_synapse_table(objects, places, sums, classes, request.channels, names)
    if model is not None:
        stages.paint(files.painter(classes, stages.plan.image))
    if files.data is not None:
        stages.keep_data(files.data)
    for store in files.stores:
        build_levels(client, store, progress, request.cancelled)
    said = {**_explain(found, threshold, pair), "classes": _count(classes, names), "removed": int(labels.too_small)}
    write_documents(
        request,
        folder,
        table,
        volumes=files.volumes,
        links=files.links,
        said=said,
        thumbnails=Thumbnails(stages.pair, *found.pair),
        class_names=names,
    )


def _describe(stages: Stages, pair: tuple[str, ...]) -> str:
    shape = "x".join(map(str, stages.plan.block[1:]))
    size = sum(volume.dtype.itemsize for volume in stages.request.channels.values()) * stages.plan.image.size
    return (
        f"{stages.request.name} of {stages.plan.image.size:,} voxels in {len(stages.request.channels)} channels "
        f"({readable_bytes(size)}), detected in {' and '.join(pair)}: {stages.plan.n_blocks:,} blocks of {shape}"
    )


def _box_work(stages: Stages, found: Statistics, model: CubeModel | None) -> boxes.BoxWork:
    request = stages.request
    channels = request.channels
    scales = {name: boxes.PlaneScale(found.means(name), found.deviations(name)) for name in channels}
    cubed: tuple[str, ...] = ()
    if model is not None:
        cubed = channel_choice.classifier_channels(tuple(channels), request.parameters, model.channels)
    legacy, inclusive = request.parameters["legacy"], request.parameters["inclusive"]
    return boxes.BoxWork(channels, scales, stages.box_folder(), inclusive, legacy, model, cubed)


def _explain(found: Statistics, threshold: detection.Threshold, pair: tuple[str, ...]) -> dict[str, Any]:
    """How the detections came about, as JSON values."""
    first, second = found.pair
    return {
        "detection": {
            "channels": list(pair),
            "means": [first.mean, second.mean],
            "deviations": [first.deviation, second.deviation],
            "threshold": threshold.centre,
        }
    }


def _count(classes: npt.NDArray[np.int64], names: tuple[str, ...]) -> dict[str, int]:
    return {name: int((classes == k).sum()) for k, name in enumerate(names)}
