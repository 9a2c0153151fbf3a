"""Class probabilities of a block: read with its halo, features slab by slab, forest, cut, convert.

A block task is `predict_block` of a frozen `Task` and a box. It runs anywhere, twice if need be, with the same bytes as
result: batch runs, lazy arrays and requests for a region all come here.

1. The block and its halo are read from the volume, clipped at the image.
2. For each stage, tile by tile, features are made in slabs of a few planes, and go to the forest while in cache.
3. Autocontext: the first stage's classes, in the raw data's type, become channels of what the second stage reads.
4. Labels that the forest never saw get probability 0, and the wanted results are derived and converted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from numba_ops.features import slabs
from numba_ops.forest import Trees, pack, predict_slab
from numba_ops.stack import Stack
from pipeline.blocks import Box, grid
from pipeline.plan import Plan
from pipeline.project import Project, Stage
from pipeline.results import Result
from pipeline.stages import timed
from pipeline.task_memory import sum_halos, tile_shape
from pipeline.volume import Volume

RULES = 1  # raised whenever any result changes in any bit: part of the digest of a run
Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class StageModel:
    """One stage, ready to be evaluated: features, forest, and the output channel of each class the forest knows."""

    stack: Stack
    trees: Trees
    channels: tuple[int, ...]
    n_channels: int


@dataclass(frozen=True, eq=False)
class Task:
    """All that block tasks of one run share; picklable.

    Parameters
    ----------
    volume : Volume
    image : Box
        The whole volume.
    halo_zyx : tuple of int
    stages : tuple of StageModel
    results : tuple of Result
    digest : str
        Of the volume, the project and whatever else decides the results.
    """

    volume: Volume
    image: Box
    halo_zyx: tuple[int, int, int]
    stages: tuple[StageModel, ...]
    results: tuple[Result, ...]
    digest: str


def make_task(volume: Volume, project: Project, plan: Plan) -> Task:
    """What the blocks of `plan` share."""
    stages = build_models(project.stages, plan.stacks)
    return Task(volume, plan.image, plan.halo_zyx, stages, plan.results, run_digest(volume.digest, project, plan))


def build_models(stages: Sequence[Stage], stacks: Sequence[Stack]) -> tuple[StageModel, ...]:
    """Pack the forests of the stages that have a stack."""
    models = []
    for stage, stack in zip(stages, stacks, strict=False):
        f = stage.forest
        trees = pack(f.column, f.threshold, f.child[:, 0], f.probability, f.roots, f.group, f.n_columns)
        models.append(StageModel(stack, trees, tuple(label - 1 for label in f.labels), len(stage.class_names)))
    return tuple(models)


def run_digest(volume_digest: str, project: Project, plan: Plan) -> str:
    """SHA-256, hexadecimal, of everything that decides the results, the way of computing them apart."""
    said = [RULES, volume_digest, project.digest, len(plan.stacks), [[o.name, o.dtype] for o in plan.results]]
    return hashlib.sha256(json.dumps([*said, str(plan.region)]).encode()).hexdigest()


def describe_origin(volume: Volume, project: Project, plan: Plan) -> dict[str, Any]:
    """Where results come from, for the record of an output that holds them."""
    return {
        "volume": volume.url,
        "volume_digest": volume.digest,
        "axes": volume.source_axes,
        "project": project.path,
        "project_digest": project.digest,
        "stage": len(plan.stacks),
        "region": str(plan.region),
    }


def predict_block(task: Task, box: Box) -> dict[str, Array]:
    """Compute the results of one box.

    Returns
    -------
    dict of str to ndarray
        By output name: (t, c, z, y, x) for results with channels, (t, z, y, x) without, in the stored type.

    Raises
    ------
    ReadError
        If the volume's data is damaged.
    """
    image = task.image.shape[1:]
    frames = []
    for t in range(box.start[0], box.stop[0]):
        frame = Box((t, *box.start[1:]), (t + 1, *box.stop[1:]))
        outer = frame.grow(task.halo_zyx, task.image)
        with timed("read"):
            data = task.volume.read(outer)[0]
        with timed("compute"):
            frames.append(compute_frame(task.stages, task.results, data, outer.start[1:], image, frame))
    if len(frames) == 1:  # every block of a run: no copy
        return {name: values[None] for name, values in frames[0].items()}
    return {result.name: np.stack([frame[result.name] for frame in frames]) for result in task.results}


def compute_frame(
    stages: Sequence[StageModel],
    results: Sequence[Result],
    data: Array,
    origin_zyx: Sequence[int],
    image_zyx: Sequence[int],
    core: Box,
) -> dict[str, Array]:
    """Results of one time point of a box, from raw data in memory.

    Parameters
    ----------
    stages : sequence of StageModel
    results : sequence of Result
    data : ndarray, (c, z, y, x)
        The core with its halo, clipped at the image.
    origin_zyx : sequence of int
        Image position of the first voxel of `data`.
    image_zyx : sequence of int
        Shape of the image.
    core : Box
        What to compute; one time point.

    Returns
    -------
    dict of str to ndarray, (c, z, y, x) or (z, y, x)
    """
    whole = Box((core.start[0], 0, 0, 0), (core.stop[0], *image_zyx))  # type: ignore[arg-type]
    for i, stage in enumerate(stages[:-1]):
        region = core.grow(sum_halos([later.stack for later in stages[i + 1 :]]), whole)
        inside = (slice(None), *region.slices((0, *origin_zyx))[1:])
        # The probabilities get no name: they would live on while the next stage is computed.
        data = _append(data[inside], _evaluate(stage, data, origin_zyx, image_zyx, region, with_features=False)[0])
        origin_zyx = region.start[1:]
    names = {result.name for result in results}
    classes, features = _evaluate(
        stages[-1], data, origin_zyx, image_zyx, core, "features" in names, with_classes=names != {"features"}
    )
    return {result.name: features if result.name == "features" else derive(result, classes) for result in results}


def _evaluate(
    stage: StageModel,
    data: Array,
    origin: Sequence[int],
    image: Sequence[int],
    region: Box,
    with_features: bool,
    with_classes: bool = True,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Probabilities (channels, z, y, x) of a region and, if wanted, its features (columns, z, y, x)."""
    shape = region.shape[1:]
    known = np.empty((len(stage.channels), *shape), np.float32)
    features = np.empty((stage.stack.n_columns if with_features else 0, *shape), np.float32)
    for tile in grid(region, (1, shape[0], *tile_shape(stage.stack, shape[0]))):
        _evaluate_tile(stage, data, origin, image, region, tile, known if with_classes else None, features)
    if stage.channels == tuple(range(stage.n_channels)):
        return known, features
    classes = np.zeros((stage.n_channels, *shape), np.float32)
    classes[list(stage.channels)] = known
    return classes, features


def _evaluate_tile(
    stage: StageModel,
    data: Array,
    origin: Sequence[int],
    image: Sequence[int],
    region: Box,
    tile: Box,
    known: npt.NDArray[np.float32] | None,
    features: npt.NDArray[np.float32],
) -> None:
    """Fill in a tile of a region; a function of its own, so that a tile's slab is gone before the next is made."""
    core = list(zip(tile.start[1:], tile.stop[1:], strict=True))
    _, _, y, x = (a - b for a, b in zip(tile.start, region.start, strict=True))
    for plane, slab in slabs(data, origin, image, core, stage.stack):
        z = plane - region.start[1]
        if known is not None:
            predict_slab(stage.trees, slab, known, z, y, x)
        if len(features):
            features[:, z : z + slab.shape[1], y : y + slab.shape[2], x : x + slab.shape[3]] = slab


def _append(data: Array, classes: npt.NDArray[np.float32]) -> Array:
    """Raw data with the probabilities of a stage as further channels, (c, z, y, x)."""
    extended = np.empty((len(data) + len(classes), *data.shape[1:]), data.dtype)
    extended[: len(data)] = data
    for channel, probability in enumerate(classes, start=len(data)):
        extended[channel] = quantise(probability, data.dtype)
    return extended


def quantise(probability: npt.NDArray[np.float32], dtype: np.dtype[Any]) -> Array:
    """Stage-1 probabilities in the type of the raw data, as ilastik appends them (SEMANTICS section 6)."""
    if dtype.kind == "f":
        return probability.astype(dtype)
    limits = np.iinfo(dtype)
    scaled = probability * np.float32(int(limits.max) - int(limits.min))
    scaled -= np.float32(limits.min)
    return scaled.astype(np.int32).astype(dtype)  # truncates; signed types wrap


def derive(wanted: Result, classes: npt.NDArray[np.float32]) -> Array:
    """A result other than features, from the probabilities of all classes (c, ...)."""
    if wanted.name == "segmentation":
        return classes.argmax(axis=0).astype(np.uint8) + np.uint8(1)
    result = classes
    if wanted.name == "uncertainty":
        if len(classes) == 1:
            result = np.zeros_like(classes[0])
        else:
            second, largest = np.partition(classes, -2, axis=0)[-2:]
            result = np.float32(1) - (largest - second)
    return renormalise(result, wanted.dtype)


def renormalise(values: npt.NDArray[np.float32], dtype: str) -> Array:
    """Values 0..1 in a stored type: integers hold 0..max, rounded half to even (SEMANTICS section 10)."""
    if dtype == "float32":
        return values
    scaled = values * np.float32(np.iinfo(dtype).max)
    return np.rint(scaled, out=scaled).astype(dtype)
