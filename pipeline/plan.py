"""What a run will do, in numbers, before anything runs: halo, chunks, blocks, tiles, bytes, refusals.

Pure: shapes in, frozen numbers out; no Dask, no files, no arrays but the filters' taps, which are computed here once
and travel to the workers, so that no worker's arithmetic can change a bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from numba_ops.stack import Stack, build
from pipeline.blocks import Box, Index, grid, grid_shape
from pipeline.config import Settings, settings
from pipeline.errors import PlanError
from pipeline.features import FeatureSelection
from pipeline.project import Project, Stage, check_data

OUTPUTS = ("probabilities", "segmentation", "uncertainty", "features")
STORED_TYPES = ("float32", "uint8", "uint16")
MIB = 2**20

# Rows and columns of a tile, the region that one stream of planes covers. Measured on one core, 128^3 voxels and scales
# up to 5: 64x64 58, 64x128 55, 128x128 57, 32x64 66 ns a voxel. In a plane nothing is kept but a few rows: larger is
# better until the slab of features leaves the second-level cache.
TILE_3D = (64, 128)
TILE_2D = (128, 256)


@dataclass(frozen=True)
class Result:
    """One result of a run.

    Parameters
    ----------
    name : str
        One of `OUTPUTS`.
    channels : tuple of str
        Names along c; empty for results without channels.
    dtype : str
        Type it is stored as.
    """

    name: str
    channels: tuple[str, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that is decided before a run; made by `make`.

    Parameters
    ----------
    image : Box
        The whole volume.
    region : Box
        What is computed.
    n_channels : int
        Channels of the volume.
    dtype : str
        Type of the volume.
    stacks : tuple of Stack
        Features of each stage that is evaluated.
    halo_zyx : tuple of int
        Voxels read around a block on each side, clipped at the image; the sum over the stages.
    chunk, block : tuple of int, (t, z, y, x)
        Shape of an output chunk, and of the block that one task computes: whole chunks.
    results : tuple of Result
    task_bytes : int
        Memory of one task.
    """

    image: Box
    region: Box
    n_channels: int
    dtype: str
    stacks: tuple[Stack, ...]
    halo_zyx: tuple[int, int, int]
    chunk: Index
    block: Index
    results: tuple[Result, ...]
    task_bytes: int

    @property
    def n_tasks(self) -> int:
        """Number of block tasks."""
        return math.prod(grid_shape(self.region, self.block))

    @property
    def output_bytes(self) -> int:
        """Bytes of all results at full resolution, not compressed."""
        return self.region.size * sum(
            max(len(o.channels), 1) * np.dtype(o.dtype).itemsize for o in self.results
        )

    @property
    def read_bytes(self) -> int:
        """Bytes of raw data that the tasks read in all, halos included."""
        voxels = sum(block.grow(self.halo_zyx, self.image).size for block in self.blocks())
        return voxels * self.n_channels * np.dtype(self.dtype).itemsize

    def blocks(self) -> Iterator[Box]:
        """The region cut into blocks, in C order."""
        return grid(self.region, self.block)


def make(
    image: Box,
    n_channels: int,
    dtype: str,
    dims: str,
    project: Project,
    *,
    outputs: Sequence[str] = ("probabilities",),
    stored_type: str = "float32",
    stage: int | None = None,
    region: Box | None = None,
    limits: Settings | None = None,
) -> Plan:
    """Plan a prediction.

    Parameters
    ----------
    image : Box
        The whole volume.
    n_channels : int
        Its channels.
    dtype : str
        Its type.
    dims : str
        The axes it has, of t c z y x.
    project : Project
    outputs : sequence of str
        Any of `OUTPUTS`, each at most once.
    stored_type : {"float32", "uint8", "uint16"}
        Type of probabilities and uncertainty; integers hold 0..1 as 0..max, rounded half to even.
    stage : int, optional
        Stage of an Autocontext project to stop at; the last by default.
    region : Box, optional
        What to compute; everything by default.
    limits : Settings, optional

    Raises
    ------
    PlanError
        If data, project and request do not fit each other, or a single chunk does not fit into `task_memory`.
    """
    limits = limits or settings()
    _check_request(project, outputs, stored_type, stage, region, image)
    lengths = dict(zip("tczyx", (image.shape[0], n_channels, *image.shape[1:]), strict=True))
    check_data(project, dims, [lengths[axis] for axis in dims], dtype)
    region = region or image
    stages = project.stages[: stage or len(project.stages)]
    stacks = build_stacks(stages, n_channels, image.shape[1])
    results = tuple(_result(name, stages[-1], n_channels, stages, image.shape[1], stored_type) for name in outputs)
    z, y, x = (sum(stack.halo_zyx[axis] for stack in stacks) for axis in range(3))
    chunk = choose_chunk(region.shape, limits.chunk_voxels)

    def cost(block: Index) -> int:
        return _task_bytes(block, image, (z, y, x), stacks, n_channels, np.dtype(dtype).itemsize, stages, results)

    block = _choose_block(region.shape, chunk, z, cost, limits)
    return Plan(image, region, n_channels, dtype, stacks, (z, y, x), chunk, block, results, cost(block))


def build_stacks(stages: Sequence[Stage], n_channels: int, depth: int) -> tuple[Stack, ...]:
    """The feature stack of each stage; a later stage sees the earlier one's classes as further channels."""
    stacks = []
    for stage in stages:
        stacks.append(build_stack(stage.features, n_channels, depth))
        n_channels += len(stage.class_names)
    return tuple(stacks)


def build_stack(selection: FeatureSelection, n_channels: int, depth: int) -> Stack:
    """Taps and columns of a selection, for an image of `n_channels` channels and `depth` planes."""
    return build(selection.ids, selection.scales, selection.matrix, selection.in_2d(depth), n_channels)


def value_range(result: Result) -> tuple[float, float] | None:
    """Smallest and largest value that a result can have, as stored; None where that says nothing."""
    if result.name in ("features", "segmentation"):
        return None
    return 0.0, 1.0 if result.dtype == "float32" else float(np.iinfo(result.dtype).max)


def tile_shape(stack: Stack) -> tuple[int, int]:
    """Rows and columns of the tiles that a block is computed in."""
    return TILE_2D if all(scale.in_2d for scale in stack.scales) else TILE_3D


def choose_chunk(shape: Sequence[int], voxels: int) -> Index:
    """Shape of an output chunk, (t, z, y, x): a cube of at most `voxels`, or wider where an axis is shorter.

    Examples
    --------
    >>> choose_chunk((1, 300, 300, 300), 64**3), choose_chunk((5, 1, 4000, 4000), 64**3)
    ((1, 64, 64, 64), (1, 1, 512, 512))
    """
    edges = [1, 1, 1]
    while True:
        growing = [i for i in range(3) if edges[i] < shape[i + 1]]
        smallest = min(growing, key=lambda i: (edges[i], -i), default=None)
        if smallest is None or math.prod(edges) * 2 > voxels:
            break
        edges[smallest] *= 2
    z, y, x = (min(edge, n) for edge, n in zip(edges, shape[1:], strict=True))
    return 1, z, y, x


def _choose_block(shape: Index, chunk: Index, halo_z: int, cost, limits: Settings) -> Index:  # type: ignore[no-untyped-def]
    """Grow whole chunks, first along z until the halo's planes count little, then in the plane."""
    if cost(chunk) > limits.task_memory:
        raise PlanError(
            f"a block of one chunk, {'x'.join(map(str, chunk[1:]))} voxels, needs {cost(chunk) / MIB:.0f} MiB, but "
            f"task_memory allows {limits.task_memory / MIB:.0f} MiB; raise VOXELFOREST_TASK_MEMORY or lower "
            "VOXELFOREST_CHUNK_VOXELS",
            code="task_memory",
        )
    block = chunk
    while True:
        z, y, x = block[1:]
        order = (1, 3, 2) if z < 6 * halo_z else ((3, 2) if x <= y else (2, 3))
        for axis in order:
            larger = tuple(min(2 * n, shape[i]) if i == axis else n for i, n in enumerate(block))
            whole = larger[axis] == shape[axis] or larger[axis] % chunk[axis] == 0
            if block[axis] < shape[axis] and whole and math.prod(larger) <= limits.block_voxels:
                candidate: Index = (larger[0], larger[1], larger[2], larger[3])
                if cost(candidate) <= limits.task_memory:
                    block = candidate
                    break
        else:
            return block


def _task_bytes(
    block: Index,
    image: Box,
    halo: tuple[int, int, int],
    stacks: Sequence[Stack],
    n_channels: int,
    itemsize: int,
    stages: Sequence[Stage],
    results: Sequence[Result],
) -> int:
    """Memory of a task: the block it reads, what the earlier stages give, one tile's scratch, and its results twice."""
    outer = math.prod(min(n + 2 * h, m) for n, h, m in zip(block[1:], halo, image.shape[1:], strict=True))
    voxels = math.prod(block)
    total = outer * itemsize * n_channels
    for stage in stages[:-1]:  # its probabilities, and the block with them appended
        total += outer * (4 * len(stage.class_names) + itemsize * (n_channels + len(stage.class_names)))
    total += voxels * 4 * stages[-1].forest.n_classes
    total += voxels * sum(2 * max(len(o.channels), 1) * np.dtype(o.dtype).itemsize for o in results)
    scratch = 0
    for stack in stacks:
        rows, width = (min(a, b) for a, b in zip(tile_shape(stack), block[2:], strict=True))
        scratch = max(scratch, stack.scratch_bytes(block[1], rows, width))
    return total + scratch


def _result(
    name: str, stage: Stage, n_channels: int, stages: Sequence[Stage], depth: int, stored_type: str
) -> Result:
    if name == "probabilities":
        return Result(name, stage.class_names, stored_type)
    if name == "features":
        channels = n_channels + sum(len(s.class_names) for s in stages[:-1])
        return Result(name, stage.features.names(channels, depth), "float32")
    return Result(name, (), "uint8" if name == "segmentation" else stored_type)


def _check_request(
    project: Project,
    outputs: Sequence[str],
    stored_type: str,
    stage: int | None,
    region: Box | None,
    image: Box,
) -> None:
    for name in outputs:
        if name not in OUTPUTS:
            raise PlanError(f"output {name!r}; allowed are {', '.join(OUTPUTS)}", code="output")
    if not outputs or len(set(outputs)) != len(outputs):
        raise PlanError(f"outputs {', '.join(outputs) or 'none'}; name at least one, each once", code="output")
    if stored_type not in STORED_TYPES:
        raise PlanError(f"type {stored_type!r}; allowed are {', '.join(STORED_TYPES)}", code="dtype")
    if stored_type != "float32" and not {"probabilities", "uncertainty"} & set(outputs):
        raise PlanError(
            f"type {stored_type} is for probabilities and uncertainty; segmentation is always uint8, features float32",
            code="dtype",
        )
    if stage is not None and not 1 <= stage <= len(project.stages):
        raise PlanError(f"stage {stage}, but {project.path} has {len(project.stages)}", code="stage")
    if region is not None and (not image.contains(region) or region.size == 0):
        raise PlanError(f"the region {region} is empty or not inside the volume {image}", code="region")
