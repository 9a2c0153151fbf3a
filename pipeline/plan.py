"""What a run will do, in numbers, before anything runs: halo, chunks, blocks, bytes, refusals.

Pure: shapes in, frozen numbers out; no Dask, no files, no arrays but the filters' taps, which are computed here once
and travel to the workers, so that no worker's arithmetic can change a bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from numba_ops.stack import Stack, build
from pipeline.blocks import Box, Index, grid, grid_shape
from pipeline.config import Settings, settings
from pipeline.errors import PlanError
from pipeline.features import FeatureSelection
from pipeline.project import Project, Stage, check_data
from pipeline.results import Result, choose_results
from pipeline.task_memory import sum_halos, task_bytes

MIB = 2**20
SHARES = 8  # blocks that a small volume is cut into at least, where chunks allow: so few threads end together
# Of a task; no block grows beyond. Imports and compiled code apart (85 MiB of 350 that a run on two threads may take),
# a run holds two tasks and what the memory allocator keeps beside them. Blocks of twice the size are no faster.
COMFORTABLE = 96 * MIB
# Blocks of a run from which on they may grow to what `task_memory` allows: each takes the scheduler's time, and halos
# are read again. Such a run is for machines that are there for it.
MANY = 100_000
CHUNK_BYTES = 64 * MIB  # of the widest result: 64^3 voxels of 64 float32 channels; features can have hundreds


@dataclass(frozen=True, eq=False, repr=False)
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
        Memory of one task, an upper bound.
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
        return self.region.size * sum(result.voxel_bytes for result in self.results)

    @property
    def read_bytes(self) -> int:
        """Bytes of raw data that the tasks read in all, halos included."""
        voxels = math.prod(self._read_length(axis) for axis in range(4))  # a grid is a product of its axes
        return voxels * self.n_channels * np.dtype(self.dtype).itemsize

    def _read_length(self, axis: int) -> int:
        first, last, halo = self.region.start[axis], self.region.stop[axis], (0, *self.halo_zyx)[axis]
        if halo == 0:
            return last - first
        starts = np.arange(first, last, self.block[axis])
        stops = np.minimum(starts + self.block[axis], last)
        read = np.minimum(stops + halo, self.image.stop[axis]) - np.maximum(starts - halo, self.image.start[axis])
        return int(read.sum())

    def blocks(self) -> Iterator[Box]:
        """The region cut into blocks, in C order."""
        return grid(self.region, self.block)

    def __repr__(self) -> str:
        results = ", ".join(result.name for result in self.results)
        shape, block = ("x".join(map(str, sizes)) for sizes in (self.region.shape, self.block))
        return f"<Plan of {results}: {shape} voxels (t z y x) in {self.n_tasks:,} blocks of {block}>"

    def _repr_html_(self) -> str:
        """What Jupyter shows: the costs, and the blocks with what one of them reads."""
        from pipeline import markup, volume_description  # both need this module

        return markup.tables([volume_description.describe_plan(self)]) + markup.draw_blocks(self)


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
        Its type; bool counts as 0 and 1.
    dims : str
        The axes it has, of t c z y x.
    project : Project
    outputs : sequence of str
        Any of `pipeline.results.OUTPUTS`, each at most once.
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
    if stage is not None and not 1 <= stage <= len(project.stages):
        raise PlanError(f"stage {stage}, but {project.path} has {len(project.stages)}", code="stage")
    stages = project.stages[: stage or len(project.stages)]
    lengths = dict(zip("tczyx", (image.shape[0], n_channels, *image.shape[1:]), strict=True))
    check_data(project, dims, [lengths[axis] for axis in dims], dtype)
    region = image if region is None else region
    if not image.contains(region) or region.size == 0:
        raise PlanError(f"the region {region} is empty or not inside the volume {image}", code="region")
    results = choose_results(outputs, stored_type, stages, n_channels, image.shape[1])
    stacks = build_stacks(stages, n_channels, image.shape[1])
    widest = max(result.voxel_bytes for result in results)
    chunk = choose_chunk(region.shape, min(limits.chunk_voxels, max(CHUNK_BYTES // widest, 1)))

    def cost(block: Index) -> int:
        return task_bytes(block, image, np.dtype(dtype).itemsize, n_channels, stages, stacks, results)

    halo = sum_halos(stacks)
    block = _choose_block(region.shape, chunk, halo[0], cost, limits, min(limits.task_memory, COMFORTABLE))
    if math.prod(grid_shape(region, block)) > MANY:
        block = _choose_block(region.shape, chunk, halo[0], cost, limits, limits.task_memory)
    return Plan(image, region, n_channels, dtype, stacks, halo, chunk, block, results, cost(block))


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


def _choose_block(
    shape: Index, chunk: Index, halo_z: int, cost: Callable[[Index], int], limits: Settings, memory: int
) -> Index:
    """Grow whole chunks into `memory`, first along z until the halo's planes count little, then in the plane."""
    most = min(limits.block_voxels, max(math.prod(shape) // SHARES, 1))
    if cost(chunk) > limits.task_memory:
        raise PlanError(
            f"a block of one chunk, {'x'.join(map(str, chunk[1:]))} voxels, needs {cost(chunk) / MIB:.0f} MiB, but "
            f"task_memory allows {limits.task_memory / MIB:.0f} MiB; raise VOXELFOREST_TASK_MEMORY or lower "
            "VOXELFOREST_CHUNK_VOXELS",
            code="task_memory",
        )
    block = chunk
    while True:
        _, z, y, x = block
        order = (1, 3, 2) if z < 6 * halo_z else ((3, 2) if x <= y else (2, 3))
        larger = next(
            (
                candidate
                for axis in order
                if (candidate := _double(block, axis, shape)) != block
                and math.prod(candidate) <= most
                and cost(candidate) <= memory
            ),
            None,
        )
        if larger is None:
            return block
        block = larger


def _double(block: Index, axis: int, shape: Index) -> Index:
    """The block twice as long along an axis, or as long as the region: whole chunks, since it began as one."""
    t, z, y, x = (min(2 * n, shape[i]) if i == axis else n for i, n in enumerate(block))
    return t, z, y, x
