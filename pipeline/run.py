"""A prediction from a volume to an output on disk: plan, blocks, pyramid, finish.

Every block is an idempotent task that reads, computes and writes whole chunks; a chunk's file is the record that it is
done. So a run may die at any moment and go on later, and ends with the same bytes.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import compress
from typing import Any, TypeVar

from distributed import Client

from numba_ops.warmup import warm_up
from pipeline import plan as planning
from pipeline.blocks import Box
from pipeline.cluster import LOCAL_NAMES, check_scheduler, connect, count_threads
from pipeline.collision import refuse_collision
from pipeline.config import settings
from pipeline.errors import CancelledError, PipelineError
from pipeline.intention import describe_work, warn_of_little_space
from pipeline.mask import masked_digest, predict_inside
from pipeline.memory import total_peak_bytes
from pipeline.metadata import OmeVersion
from pipeline.output import Mode, locate
from pipeline.plan import Plan
from pipeline.prediction import Task, make_task, run_digest
from pipeline.progress import Progress, Stage
from pipeline.project import Project
from pipeline.result_images import final_axes, is_written, place, specify
from pipeline.store import LevelBlock, Store, create
from pipeline.summary import Summary
from pipeline.volume import Volume
from pipeline.window import run_windowed

Item = TypeVar("Item")


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
        ``threads``, ``local`` or the address of a Dask scheduler.
    workers : int, optional
        Threads or processes; the cores by default.
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
    workers: int | None = None


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
    refuse_collision(output, (request.volume.url, request.project.path, *([request.mask.url] if request.mask else [])))
    store = _create(request, plan)
    blocks, peak = 0, total_peak_bytes()
    if not store.finished:
        try:
            blocks, peak = _compute(request, plan, store, progress)
            if output.single:
                progress.note(f"writing {store.path}")
            store.finish()
        except KeyboardInterrupt:
            raise CancelledError(_how_to_go_on(request, store)) from None
        finally:
            store.close()
    seconds = time.monotonic() - started
    return Summary(store.path, store.images, plan.region.size, seconds, blocks, peak, store.finished)


def _create(request: Request, plan: Plan) -> Store:
    volume, project = request.volume, request.project
    provenance = {
        "software": f"voxelforest {version('voxelforest')}",
        "volume": volume.url,
        "volume_digest": volume.digest,
        "axes": volume.source_axes,
        "project": project.path,
        "project_digest": project.digest,
        "stage": len(plan.stacks),
        "region": str(plan.region),
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
    key = f"{store.record['digest'][:16]}-{store.token[:16]}"  # another run of the same digest writes elsewhere
    with _connected(request, store) as client:
        if request.scheduler in LOCAL_NAMES:  # other machines compile their own, when the first block needs it
            _compile_kernels(progress)
        done = [store.resumed and is_written(store, block, plan.region) for block in plan.blocks()]
        todo = [not is_done for is_done in done]
        voxels = sum(block.size for block in compress(plan.blocks(), todo))
        progress.note(describe_work(plan, store, sum(done), count_threads(client)))
        if warning := warn_of_little_space(store):
            progress.note(warning)
        with progress.stage("predict", blocks=sum(todo), voxels=voxels) as stage:
            _run_tasks(
                client,
                _predict_and_write,
                compress(plan.blocks(), todo),
                f"predict-{key}",
                (make_task(request.volume, request.project, plan), store, plan.region, request.mask),
                lambda block: stage.advance(block.size),
            )
        _build_levels(client, store, key, progress)
        return sum(todo), total_peak_bytes(client)


@contextlib.contextmanager
def _connected(request: Request, store: Store) -> Iterator[Client]:
    """A client; where there is none to be had, an output that was just begun is taken back."""
    with contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(connect(request.scheduler, request.workers))
        except PipelineError:
            if not store.resumed:
                store.abandon()
            raise
        yield client


def _compile_kernels(progress: Progress) -> None:
    """Compile what is not on disk yet; in a thread, since Ctrl-C in the midst of LLVM leaves it broken."""
    errors: list[Exception] = []
    with contextlib.ExitStack() as begun:
        stages: list[Stage] = []

        def tell(_: str, i: int, n: int) -> None:
            if i == 1:
                progress.note("compiling kernels, once on this machine; it takes about half a minute")
                stages.append(begun.enter_context(progress.stage("compile", blocks=n, voxels=0)))
            else:
                stages[0].advance()

        def compile_all() -> None:
            try:
                warm_up(tell)
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=compile_all, daemon=True)
        thread.start()
        thread.join()
    if errors:
        raise errors[0]


def _build_levels(client: Client, store: Store, key: str, progress: Progress) -> None:
    """Make what the blocks left of the coarser levels, each from the one before it."""
    work = [(spec.name, level) for spec in store.images for level in store.level_blocks(spec.name)]
    blocks = sum(len(level) for _, level in work)
    if not blocks:
        return
    with progress.stage("pyramid", blocks=blocks, voxels=0) as stage:
        for name, level in work:
            _run_tasks(
                client,
                _build_level_block,
                level,
                f"pyramid-{name}-{level[0].level}-{key}",
                (store, name),
                lambda _: stage.advance(),
            )


def _run_tasks(
    client: Client,
    task: Callable[..., None],
    items: Iterable[Item],
    key_prefix: str,
    shared: Sequence[Any],
    on_done: Callable[[Item], None],
) -> None:
    run_windowed(
        client,
        task,
        items,
        window=settings().window_per_thread * max(count_threads(client), 1),
        key_prefix=key_prefix,
        shared=shared,
        on_done=lambda item, _: on_done(item),
    )


def _predict_and_write(task: Task, store: Store, region: Box, mask: Volume | None, block: Box) -> None:
    """The block task of a run."""
    results = predict_inside(task, mask, block)
    for spec in store.images:
        start, values = place(spec, results[spec.name], block, region)
        store.write(spec.name, start, values)


def _build_level_block(store: Store, image: str, block: LevelBlock) -> None:
    store.build_level_block(image, block.level, block.start, block.stop)


def _how_to_go_on(request: Request, store: Store) -> str:
    change = "with --resume instead of --overwrite" if request.mode == "overwrite" else "with --resume"
    return f"Interrupted. What is finished is kept in {store.output.partial}; the same command {change} goes on."
