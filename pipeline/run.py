"""A prediction from a volume to an output on disk: plan, blocks, pyramid, finish.

Every block is an idempotent task that reads, computes and writes whole chunks; a chunk's file is the record that it is
done. So a run may die at any moment and go on later, and ends with the same bytes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline import plan as planning
from pipeline.blocks import AXES, Box
from pipeline.config import settings
from pipeline.errors import CancelledError
from pipeline.images import ImageSpec
from pipeline.metadata import OmeVersion
from pipeline.output import Mode
from pipeline.plan import Plan, Result
from pipeline.progress import Progress
from pipeline.project import Project
from pipeline.store import LevelBlock, Store, create
from pipeline.volume import Volume

if TYPE_CHECKING:
    from distributed import Client

    from pipeline.prediction import Task


@dataclass(frozen=True)
class Request:
    """What to predict, and where to.

    Parameters
    ----------
    project : Project
    volume : Volume
    path : path
        The output: .zarr, .h5 or .npy.
    outputs : tuple of str
        Any of `pipeline.plan.OUTPUTS`; several need .zarr.
    dtype : {"float32", "uint8", "uint16"}
        Type of probabilities and uncertainty.
    stage : int, optional
        Stage of an Autocontext project; the last by default.
    region : Box, optional
        Part of the volume; all of it by default.
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
    ome_version: OmeVersion = "0.5"
    mode: Mode = "new"
    scheduler: str = "threads"
    workers: int | None = None


@dataclass(frozen=True)
class Summary:
    """What a run did.

    `path` is the output, `voxels` those of the region, `computed_blocks` the tasks that were not done before.
    """

    path: str
    voxels: int
    seconds: float
    computed_blocks: int


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
        Told about stages and finished blocks.

    Raises
    ------
    PlanError, StoreError, ClusterError
        Before any work is done.
    ReadError, WriteError
        If data turns out damaged or the disk fills; what is finished stays for ``mode="resume"``.
    CancelledError
        On Ctrl-C; likewise.
    """
    from pipeline import prediction

    started = time.monotonic()
    plan = make_plan(request)
    digest = prediction.run_digest(request.volume.digest, request.project, plan)
    store = create(
        request.path,
        [_image(result, plan, request) for result in plan.results],
        version=request.ome_version,
        provenance=_provenance(request, plan),
        digest=digest,
        mode=request.mode,
        final_axes=_final_axes(request.volume, plan),
    )
    blocks = 0
    if not store.finished:
        try:
            blocks = _compute(request, plan, store, progress)
            path = store.finish()
        except KeyboardInterrupt:
            raise CancelledError(
                f"Interrupted. Finished blocks are kept in {store.output.partial}; the same command with --resume goes on."
            ) from None
        finally:
            store.close()
    path = store.path
    return Summary(str(path), plan.region.size, time.monotonic() - started, blocks)


def _compute(request: Request, plan: Plan, store: Store, progress: Progress) -> int:
    """Run what is missing; returns how many blocks that were."""
    from numba_ops.warmup import warm_up
    from pipeline import cluster, prediction

    warm_up(lambda name, i, n: progress.note(f"compiling {name} ({i} of {n}), once on this machine"))
    task = prediction.make_task(request.volume, request.project, plan)
    with cluster.connect(request.scheduler, request.workers) as client:
        done = [block for block in plan.blocks() if _is_written(store, plan, block)]
        skip = frozenset(done)
        todo = plan.n_tasks - len(done)
        with progress.stage("predict", blocks=todo, voxels=plan.region.size - sum(b.size for b in done)) as stage:
            _run_tasks(
                client,
                _predict_and_write,
                (b for b in plan.blocks() if b not in skip),
                f"predict-{task.digest}",
                (task, store, plan.region),
                lambda block: stage.advance(block.size),
            )
        _build_levels(client, store, task.digest, progress)
    return todo


def _build_levels(client: Client, store: Store, digest: str, progress: Progress) -> None:
    """Make the coarser levels, each from the one before it."""
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
                f"pyramid-{name}-{level[0].level}-{digest}",
                (store, name),
                lambda _: stage.advance(0),
            )


def _run_tasks(
    client: Client,
    task: Callable[..., Any],
    items: Any,
    key_prefix: str,
    shared: Sequence[Any],
    on_done: Callable[[Any], None],
) -> None:
    from pipeline.cluster import count_threads
    from pipeline.window import run_windowed

    run_windowed(
        client,
        task,
        items,
        window=settings().window_per_thread * max(count_threads(client), 1),
        key_prefix=key_prefix,
        shared=shared,
        on_done=lambda item, _: on_done(item),
    )


def _predict_and_write(task: Task, store: Store, region: Box, block: Box) -> None:
    """The block task of a run."""
    from pipeline.prediction import predict_block

    results = predict_block(task, block)
    for spec in store.images:
        start, values = _placed(spec, results[spec.name], block, region)
        store.write(spec.name, start, values)


def _build_level_block(store: Store, image: str, block: LevelBlock) -> None:
    store.build_level_block(image, block.level, block.start, block.stop)


def _placed(spec: ImageSpec, values: Any, block: Box, region: Box) -> tuple[tuple[int, ...], Any]:
    """Start in the image and values over its dims, from values over (t, [c,] z, y, x)."""
    order = "tczyx" if "c" in spec.dims else AXES
    at = dict(zip(AXES, block.shift([-n for n in region.start]).start, strict=True))
    kept = tuple(slice(None) if axis in spec.dims else 0 for axis in order)
    return tuple(at.get(axis, 0) for axis in spec.dims), values[kept]


def _is_written(store: Store, plan: Plan, block: Box) -> bool:
    here = block.shift([-n for n in plan.region.start])
    start, stop = (dict(zip(AXES, ends, strict=True)) for ends in (here.start, here.stop))
    return all(
        store.is_written(
            spec.name,
            [start.get(axis, 0) for axis in spec.dims],
            [stop.get(axis, n) for axis, n in zip(spec.dims, spec.shape, strict=True)],
        )
        for spec in store.images
    )


def _image(result: Result, plan: Plan, request: Request) -> ImageSpec:
    """How a result is stored."""
    volume, stage = request.volume, request.project.stages[len(plan.stacks) - 1]
    dims = "".join(axis for axis in "tczyx" if (axis == "c" and result.channels) or (axis in volume.dims.replace("c", "")))
    lengths = dict(zip(AXES, plan.region.shape, strict=True), c=len(result.channels))
    chunks = dict(zip(AXES, plan.chunk, strict=True), c=len(result.channels))
    by_class = result.name in ("probabilities", "segmentation")
    return ImageSpec(
        name=result.name,
        dims=dims,
        shape=tuple(lengths[axis] for axis in dims),
        chunks=tuple(chunks[axis] for axis in dims),
        dtype=result.dtype,
        spacing=volume.spacing,
        units=volume.units,
        channel_names=stage.class_names if by_class else result.channels,
        channel_colors=stage.class_colors if by_class else (),
        reduce="stride" if result.name == "segmentation" else "mean",
        value_range=planning.value_range(result),
        origin=dict(zip(AXES, map(float, plan.region.start), strict=True)),
    )


def _final_axes(volume: Volume, plan: Plan) -> str:
    """Axes of a single file: the input's order, channels last (SEMANTICS section 10)."""
    order = volume.source_axes.replace("c", "")
    return order + "c" if plan.results[0].channels else order


def _provenance(request: Request, plan: Plan) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "software": f"voxelforest {version('voxelforest')}",
        "volume": request.volume.url,
        "volume_digest": request.volume.digest,
        "axes": request.volume.source_axes,
        "project": request.project.path,
        "project_digest": request.project.digest,
        "stage": len(plan.stacks),
        "region": str(plan.region),
    }
