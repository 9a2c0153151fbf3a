"""Memory of one block task, as an upper bound, and the tiles that keep most of it small.

Counted are arrays: raw data with its halo, probabilities, features, results, and the scratch of one tile. Not counted
are what a file format holds while it decodes a chunk, and what all tasks share: the forest and the compiled code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from numba_ops.stack import Stack
from pipeline.blocks import Box, Index
from pipeline.project import Stage
from pipeline.results import Result

# Rows and columns of a tile, the region that one stream of planes covers. Measured on one core, 128^3 voxels and scales
# up to 5, when all passes took about a third longer than now: 64x64 58, 64x128 55, 128x128 57, 32x64 66 ns a voxel.
# In a plane nothing is kept but a few rows: larger is better until the slab of features leaves the second-level cache.
TILE_3D = (64, 128)
TILE_2D = (128, 256)
# A slice of a 3-D project smooths many raw planes for each that is wanted; wider tiles share more of them, until their
# rings are too large for the caches. 512x512 of one plane, 11 and 41 columns: 128x256 95 and 211 ms, 96x256 98 and
# 180, 64x256 100 and 186, 64x128 106 and 197.
TILE_THIN = (96, 256)
THIN = 8  # planes, below which that is so
FLOAT = 4  # bytes of a float32
ALLOWANCE = 1 << 20  # what is small and not counted one by one: taps, offsets, Python's own objects


def tile_shape(stack: Stack, depth: int = THIN) -> tuple[int, int]:
    """Rows and columns of the tiles that a region of `depth` planes is computed in."""
    if all(scale.in_2d for scale in stack.scales):
        return TILE_2D
    return TILE_THIN if depth < THIN else TILE_3D


def sum_halos(stacks: Sequence[Stack]) -> tuple[int, int, int]:
    """Voxels (z, y, x) on each side that a chain of stages needs."""
    z, y, x = (sum(stack.halo_zyx[axis] for stack in stacks) for axis in range(3))
    return z, y, x


def task_bytes(
    block: Index,
    image: Box,
    itemsize: int,
    n_channels: int,
    stages: Sequence[Stage],
    stacks: Sequence[Stack],
    results: Sequence[Result],
) -> int:
    """Bytes that `pipeline.prediction.predict_block` holds at most for one block.

    Parameters
    ----------
    block : tuple of int, (t, z, y, x)
        One time point.
    image : Box
        The whole volume.
    itemsize, n_channels : int
        Bytes of a voxel and channels of the raw data.
    stages, stacks : sequence
        Those that are evaluated, in order.
    results : sequence of Result
    """
    held = _voxels(block, sum_halos(stacks), image) * itemsize * n_channels
    peak = 2 * held  # in the file's order of axes, then in ours
    scratch = _scratch(stacks[-1], block[1:])
    for i, (stage, stack) in enumerate(zip(stages[:-1], stacks[:-1], strict=True)):
        region = _grow(block, sum_halos(stacks[i + 1 :]), image)
        voxels = math.prod(region)
        n_channels += len(stage.class_names)
        extended = voxels * itemsize * n_channels
        converting = extended + voxels * (2 * FLOAT + itemsize)  # class by class
        peak = max(peak, held + _classes_bytes(stage, voxels) + converting)
        scratch = max(scratch, _scratch(stack, region))
        held += extended
    voxels = math.prod(block)
    if any(result.name == "features" for result in results):
        held += FLOAT * voxels * stacks[-1].n_columns
    held += _classes_bytes(stages[-1], voxels)
    deriving = sum(_derived_bytes(result, len(stages[-1].class_names), voxels) for result in results)
    return max(peak, held + deriving) + scratch + ALLOWANCE  # scratch stays with the thread from tile to tile


def _classes_bytes(stage: Stage, voxels: int) -> int:
    """Probabilities of the classes that the forest knows, and of all classes where these are not the same."""
    known, named = stage.forest.n_classes, len(stage.class_names)
    return FLOAT * voxels * (known if known == named else known + named)


def _derived_bytes(result: Result, n_classes: int, voxels: int) -> int:
    """A result and what making it takes."""
    stored = voxels * max(len(result.channels), 1) * np.dtype(result.dtype).itemsize
    if result.name == "segmentation":
        return stored + voxels * (np.dtype(np.intp).itemsize + 1)
    if result.name == "uncertainty":
        return stored + FLOAT * voxels * (n_classes + 2)
    if result.name == "probabilities" and result.dtype != "float32":
        return stored + FLOAT * voxels * n_classes
    return 0  # the very array that the forest or the features were written to


def _scratch(stack: Stack, region: Sequence[int]) -> int:
    """What one tile of a region (z, y, x), which lies inside the image, takes."""
    rows, width = (min(a, b) for a, b in zip(tile_shape(stack, region[0]), region[1:], strict=True))
    return stack.scratch_bytes(region[0], rows, width)


def _grow(block: Sequence[int], halo: Sequence[int], image: Box) -> tuple[int, int, int]:
    z, y, x = (min(n + 2 * h, m) for n, h, m in zip(block[1:], halo, image.shape[1:], strict=True))
    return z, y, x


def _voxels(block: Sequence[int], halo: Sequence[int], image: Box) -> int:
    return math.prod(_grow(block, halo, image))
