"""A prediction from a volume to an output on disk: plan, blocks, pyramid, finish.

Every block is an idempotent task that reads, computes and writes whole chunks; a chunk's file is the record that it is
done. So a run may die at any moment and go on later, and ends with the same bytes.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version

from pipeline import plan as planning
from pipeline.blocks import Box
from pipeline.cluster import LOCAL_NAMES, check_place, check_scheduler, expected_threads
from pipeline.clusters.terms import Terms
from pipeline.clusters.work import estimate_seconds
from pipeline.clusters.workers import Workers
from pipeline.collision import refuse_collision
from pipeline.errors import CancelledError
from pipeline.intention import describe_work, warn_of_little_space
from pipeline.mask import masked_digest, predict_inside
from pipeline.memory import total_peak_bytes
from pipeline.metadata import OmeVersion
from pipeline.output import Mode, locate
from pipeline.pending import Pending
from pipeline.plan import Plan
from pipeline.prediction import Task, describe_origin, make_task, run_digest
from pipeline.progress import Progress
from pipeline.project import Project
from pipeline.result_images import final_axes, is_written, place, specify
from pipeline.run_steps import build_levels, compile_kernels, connected, how_to_go_on, run_key, run_tasks
from pipeline.stages import timed
from pipeline.store import Store, create
from pipeline.summary import Summary
from pipeline.volume import Volume


@dataclass(frozen=True)
class Request:
    """What to predict, and where to.

    Parameters
    ----------
    project : Project
    volume : Volume
    path : path
        The output: .zarr, or a file of `pipeline.writers`.
    outputs : tuple of str
        Any of `pipeline.plan.OUTPUTS`; several need .zarr.
    dtype : {"float32", "uint8", "uint16"}
        Type of probabilities and uncertainty.
    stage : int, optional
        Stage of an Autocontext project; the last by default.
    region : Box, optional
        Part of the volume; all of it by default.
    mask : Volume, optional
        One channel of the volume's shape; results are 0 where it is.
    compress : bool
        Whether an HDF5 output is compressed.
    ome_version : {"0.5", "0.4"}
    mode : {"new", "overwrite", "resume"}
        What may exist already.
    scheduler : str
        ``threads``, ``local``, ``ec2`` or the address of a Dask scheduler.
    workers : int or Workers, optional
        Threads, processes or machines; see `pipeline.cluster.connect`.
    terms : Terms
        What a cluster may cost, and where its logs go.
    """

    project: Project
    volume: Volume
    path: str | os.PathLike[str]
    outputs: tuple[str, ...] = ("probabilities",)
    dtype: str = "float32"
    stage: int | None = None
    region: Box | None = None
    mask: Volume | None = None
    compress: bool = False
    ome_version: OmeVersion = "0.5"
    mode: Mode = "new"
    scheduler: str = "threads"
    workers: int | Workers | None = None
    terms: Terms = field(default_factory=Terms)


def make_plan(request: Request) -> Plan:
    """The plan of a request; see `pipeline.plan.make` for its errors."""
    volume = request.volume
    return planning.make(
        volume.whole,
        volume.n_channels,
        str(volume.dtype),
        volume.dims,
        request.project,
        outputs=request.outputs,
        stored_type=request.dtype,
        stage=request.stage,
        region=request.region,
    )


def run(request: Request, progress: Progress) -> Summary:
    """Predict into a file.

    Parameters
    ----------
    request : Request
    progress : Progress
        Told what will be done, then about stages and finished blocks.

    Raises
    ------
    PlanError, StoreError, ClusterError
        Before any work is done; nothing is left behind then.
    ReadError, WriteError
        If data turns out damaged or the disk fills; what is finished stays for ``mode="resume"``.
    CancelledError
        On Ctrl-C; likewise.
    """
    started = time.monotonic()
    plan = make_plan(request)
    check_scheduler(request.scheduler)
    output = locate(request.path)
    inputs = (request.volume.url, *([request.mask.url] if request.mask else []))
    check_place(request.scheduler, (*inputs, str(output.target)))
    refuse_collision(output, (request.project.path, *inputs))
    store = _create(request, plan)
    blocks, peak = 0, total_peak_bytes()
    if not store.finished:
        try:
            blocks, peak = _compute(request, plan, store, progress)
            if output.single:
                progress.note(f"writing {store.path}")
            store.finish()
        except KeyboardInterrupt:
            raise CancelledError(how_to_go_on(request.mode, store)) from None
        finally:
            store.close()
    seconds = time.monotonic() - started
    return Summary(store.path, store.images, plan.region.size, seconds, blocks, peak, store.finished)


def _create(request: Request, plan: Plan) -> Store:
    volume, project = request.volume, request.project
    provenance = {
        "software": f"voxelforest {version('voxelforest')}",
        **describe_origin(volume, project, plan),
        **({"mask": request.mask.url, "mask_digest": request.mask.digest} if request.mask else {}),
    }
    return create(
        request.path,
        specify(plan, volume, project.stages[len(plan.stacks) - 1], request.ome_version),
        version=request.ome_version,
        provenance=provenance,
        digest=masked_digest(run_digest(volume.digest, project, plan), request.mask),
        mode=request.mode,
        final_axes=final_axes(volume),
        compress=request.compress,
    )


def _compute(request: Request, plan: Plan, store: Store, progress: Progress) -> tuple[int, int]:
    """Run what is missing; returns how many blocks that were, and the peak of memory in bytes."""
    seconds = estimate_seconds(plan)
    terms = replace(request.terms, tell=progress.note, core_seconds=seconds, task_bytes=plan.task_bytes)
    with connected(request.scheduler, request.workers, store, terms) as client:
        if request.scheduler in LOCAL_NAMES:  # other machines compile their own, when the first block needs it
            compile_kernels(progress)
        done = partial(is_written, store, region=plan.region) if store.resumed else None
        pending = Pending(plan.region, plan.block, done)
        progress.note(describe_work(plan, store, pending.n_done, expected_threads(client)))
        if warning := warn_of_little_space(store):
            progress.note(warning)
        with progress.stage("predict", blocks=pending.n_left, voxels=pending.voxels) as stage:
            run_tasks(
                client,
                _predict_and_write,
                pending,
                f"predict-{run_key(store)}",
                (make_task(request.volume, request.project, plan), store, plan.region, request.mask),
                lambda block: stage.advance(block.size),
            )
        build_levels(client, store, progress)
        return pending.n_left, total_peak_bytes(client)


def _predict_and_write(task: Task, store: Store, region: Box, mask: Volume | None, block: Box) -> None:
    """The block task of a run."""
    results = predict_inside(task, mask, block)
    for spec in store.images:
        start, values = place(spec, results[spec.name], block, region)
        with timed("write"):
            store.write(spec.name, start, values)
