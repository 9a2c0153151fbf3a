"""A segmentation from probabilities to an output on disk: probabilities, objects, pyramids, table, picture, finish.

Like a prediction it consists of idempotent tasks that write whole files, so it may be killed at any moment and goes on
with the same bytes as result. What it needs for itself lies in the partial output until that is finished.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distributed import Client

from numba_ops.warmup import LABELS, MEASURES, PREDICTION
from pipeline.blocks import Box, Index
from pipeline.cluster import EC2, LOCAL_NAMES, check_scheduler, expected_threads
from pipeline.collision import refuse_collision
from pipeline.config import settings
from pipeline.errors import CancelledError, PlanError, StoreError
from pipeline.hierarchy import SCRATCH
from pipeline.intention import describe_segmentation, warn_of_little_space
from pipeline.labelling import LabelPlan, LabelSummary, choose_block, label_volume, plan_labels
from pipeline.local_output import LocalOutput
from pipeline.memory import total_peak_bytes
from pipeline.object_files import check_table
from pipeline.object_stage import Measuring, measure_objects
from pipeline.output import Output, locate
from pipeline.pending import Pending
from pipeline.preview import check_preview, draw_overlay, middle, write_preview
from pipeline.probability_map import ProbabilityMap
from pipeline.progress import Progress
from pipeline.reuse import find_probabilities
from pipeline.run_steps import build_levels, compile_kernels, connected, how_to_go_on, run_key, run_tasks
from pipeline.segmentation_images import (
    OBJECTS,
    PROBABILITIES,
    Channels,
    ObjectWriter,
    StoredChannels,
    has_channels,
    read_image,
    specify,
    write_channels,
)
from pipeline.segmentation_request import SegmentationRequest
from pipeline.segmentation_summary import SegmentationSummary, count_objects
from pipeline.store import Store, create
from pipeline.summary import Summary
from pipeline.thresholding import Thresholding


@dataclass(frozen=True, eq=False)
class _Work:
    """A request with all that follows from it."""

    request: SegmentationRequest
    source: ProbabilityMap
    channels: Channels
    plan: LabelPlan
    store: Store
    table: Path | None
    preview: Path | None

    @property
    def blocks(self) -> Index:
        """What one task writes of probabilities."""
        return self.request.source.block or self.plan.block

    @property
    def scratch(self) -> Path:
        """Folder for what goes from step to step; workers of other machines see it where they see the output."""
        output = self.store.output
        if isinstance(output, LocalOutput):
            return output.partial / SCRATCH
        where = hashlib.sha256(f"{self.store.path} {self.store.record['digest']}".encode()).hexdigest()
        return settings().data_dir / SCRATCH / where[:32]

    @property
    def label_folder(self) -> Path:
        """For records of blocks; a run that goes on with other limits cuts other blocks."""
        return self.scratch / "x".join(["labels", *map(str, self.plan.block)])


def segment_volume(request: SegmentationRequest, progress: Progress) -> SegmentationSummary:
    """Segment into a file.

    Parameters
    ----------
    request : SegmentationRequest
    progress : Progress
        Told what will be done, then about stages and finished blocks.

    Raises
    ------
    PlanError, StoreError, MissingExtraError, ClusterError
        Before any work is done; nothing is left behind then.
    ReadError, WriteError
        If data turns out damaged or the disk fills; what is finished stays for ``mode="resume"``.
    CancelledError
        On Ctrl-C; likewise.
    """
    started = time.monotonic()
    if check_scheduler(request.scheduler) == EC2:
        raise PlanError(
            "Workers on EC2 share no disk, and segment needs one for its faces and tables: predict there, then segment "
            "--from the probabilities here.",
            code="place",
        )
    work = _prepare(request, progress)
    store, blocks, peak = work.store, 0, total_peak_bytes()
    if store.finished:
        found = store.output.finished_record() or {}
    else:
        try:
            blocks, peak = _compute(work, progress)
            if store.output.single:
                progress.note(f"writing {store.path}")
            store.finish()
        except KeyboardInterrupt:
            raise CancelledError(how_to_go_on(request.mode, store)) from None
        finally:
            store.close()
        found = store.record
        shutil.rmtree(work.scratch, ignore_errors=True)  # where it lay beside a bucket
    images = tuple(spec for spec in store.images if spec.role == "labels" or not store.output.single)
    images = tuple(spec for spec in images if spec.role != "scratch")
    seconds = time.monotonic() - started
    done = Summary(store.path, images, work.plan.image.size, seconds, blocks, peak, store.finished)
    return SegmentationSummary(done, found["objects"], work.table, work.preview)


def _prepare(request: SegmentationRequest, progress: Progress) -> _Work:
    """Check everything and begin the output."""
    output = locate(request.path)
    table = check_table(request.table) if request.table is not None else None
    preview = check_preview(request.preview) if request.preview is not None else None
    _check_beside(request, output, table, preview)
    source, thresholding = request.source, request.thresholding
    if source.value_range != (0.0, 1.0):
        thresholding = replace(thresholding, drange=source.value_range)
    thresholding.check(source.n_channels, source.image.shape[1:])
    others = tuple(i for i in range(source.n_channels) if i != thresholding.channel)
    core = thresholding.channels[1:]
    channels = Channels(thresholding.channel, others if table and source.task is not None else core)
    plan = _plan(source, thresholding, request)
    suffix = os.path.splitext(output.name)[1]
    specs = specify(
        source, channels, (source.block or plan.block, plan.block), suffix=suffix, version=request.ome_version
    )
    reused = find_probabilities(output, source, channels)
    store = create(
        request.path,
        specs,
        version=request.ome_version,
        provenance=_provenance(source, thresholding, request),
        digest=hashlib.sha256(json.dumps(["segment", source.digest, plan.digest]).encode()).hexdigest(),
        mode=request.mode,
        final_axes=source.source_axes + "c",
        compress=request.compress,
    )
    missing = [str(path) for path in (table, preview) if path is not None and not path.exists()]
    if store.finished and missing:
        text = f"{store.path} is finished, but {' and '.join(missing)} not there"
        raise StoreError(f"{text}: --overwrite makes all, from the probabilities that are there")
    if reused is not None and not store.finished:
        progress.note(f"{store.path} holds these probabilities: they are taken from there, and not predicted again")
    return _Work(request, reused or source, channels, plan, store, table, preview)


def _plan(source: ProbabilityMap, thresholding: Thresholding, request: SegmentationRequest) -> LabelPlan:
    picked = thresholding.pick(thresholding.channels)
    n = len(thresholding.channels)
    itemsize = {"float32": 4, "uint16": 2, "uint8": 1}[source.dtype]
    block = choose_block(source.image, source.chunk, picked, voxel_bytes=n * itemsize)
    return plan_labels(
        source.image, block, picked, n_channels=n, connectivity=request.connectivity, renumber=request.renumber
    )


def _provenance(source: ProbabilityMap, thresholding: Thresholding, request: SegmentationRequest) -> Mapping[str, Any]:
    return {
        "software": f"voxelforest {version('voxelforest')}",
        **source.provenance,
        "thresholding": asdict(thresholding),
        "connectivity": request.connectivity,
        "renumber": request.renumber,
    }


def _check_beside(request: SegmentationRequest, output: Output, table: Path | None, preview: Path | None) -> None:
    """Refuse outputs that are inputs, or each other, and a table or picture that is there."""
    refuse_collision(output, request.inputs)
    taken = {os.path.realpath(path) for path in (*request.inputs, str(output.target)) if "://" not in path}
    for path in (table, preview):
        if path is None:
            continue
        if os.path.realpath(path) in taken:
            raise StoreError(f"{path} is the input or the output itself; choose another name")
        if request.mode == "new" and path.exists():
            raise StoreError(f"{path} exists; choose another name, or --overwrite it")


def _compute(work: _Work, progress: Progress) -> tuple[int, int]:
    """Run what is missing; returns how many blocks of probabilities that were, and the peak of memory in bytes."""
    request, store = work.request, work.store
    with connected(request.scheduler, request.workers, store, replace(request.terms, tell=progress.note)) as client:
        if request.scheduler in LOCAL_NAMES:
            compile_kernels(progress, _needed_kernels(work))
        progress.note(describe_segmentation(work.plan, store, expected_threads(client)))
        if warning := warn_of_little_space(store):
            progress.note(warning)
        blocks = _store_probabilities(client, work, progress)
        labels = _label(client, work, progress)
        progress.note(str(labels))
        store.record["objects"] = count_objects(labels)
        store.record["largest_label"] = max(labels.objects, default=0) if request.renumber else labels.found
        store.record["prediction"] = {"digest": work.request.source.digest, "channel": work.channels.chosen}
        build_levels(client, store, progress, request.cancelled)
        if work.table is not None:
            measuring = Measuring(store, work.source, work.channels, request.raw, work.scratch)
            measure_objects(client, measuring, work.table, progress, request.cancelled)
        if work.preview is not None:
            _draw(work, work.preview)
        return blocks, total_peak_bytes(client)


def _needed_kernels(work: _Work) -> list[str]:
    predicts, measures = work.source.task is not None, work.table is not None
    return [*[PREDICTION] * predicts, LABELS, *[MEASURES] * measures]


def _store_probabilities(client: Client, work: _Work, progress: Progress) -> int:
    store, image = work.store, work.plan.image
    done = partial(has_channels, store, work.channels, image=image) if store.resumed else None
    pending = Pending(image, work.blocks, done)
    name = "copy" if work.source.task is None else "predict"
    with progress.stage(name, blocks=pending.n_left, voxels=pending.voxels) as stage:
        run_tasks(
            client,
            _store_block,
            pending,
            f"{name}-{run_key(store)}",
            (work.source, store, work.channels),
            lambda box: stage.advance(box.size),
            work.request.cancelled,
        )
    return pending.n_left


def _store_block(source: ProbabilityMap, store: Store, channels: Channels, box: Box) -> None:
    write_channels(store, channels, box, source.image, source.read(box, channels.stored))


def _label(client: Client, work: _Work, progress: Progress) -> LabelSummary:
    image, needed = work.plan.image, work.request.thresholding.channels
    writer = ObjectWriter(work.store, image)
    return label_volume(
        client,
        StoredChannels(work.store, image, tuple(work.channels.place(channel) for channel in needed)),
        work.plan,
        work.label_folder,
        writer,
        key=run_key(work.store),
        progress=progress,
        is_written=writer.is_written if work.store.resumed else None,
        cancelled=work.request.cancelled,
    )


def _draw(work: _Work, path: Path) -> None:
    box = middle(work.plan.image)
    labels = read_image(work.store, OBJECTS, box, work.plan.image)[0, 0, 0]
    raw = work.request.raw
    if raw is not None:
        grey = raw.read(box.shift(work.source.region.start))[0].mean(axis=0)[0]
    else:
        grey = read_image(work.store, PROBABILITIES, box, work.plan.image)[0, 0, 0]
    write_preview(path, draw_overlay(grey, labels))
