"""Feature stacks computed by the kernels and by the plain reference, for the tests of this package."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from numba_ops.features import slabs
from numba_ops.stack import FEATURES, Stack, build
from tests.oracles import load_golden_module

Ranges = Sequence[tuple[int, int]]


def every_feature(scales: Sequence[float], in_2d: Sequence[bool], channels: int = 1) -> Stack:
    """All six features at these scales."""
    return build(FEATURES, scales, [[True] * len(scales)] * len(FEATURES), in_2d, channels)


def compute(volume: NDArray[np.generic], stack: Stack, core: Ranges | None = None) -> NDArray[np.float32]:
    """Features of a region of a volume (c, z, y, x) from the block a task would read: (columns, z, y, x)."""
    image = volume.shape[1:]
    core = core or [(0, n) for n in image]
    outer = [(max(a - h, 0), min(b + h, n)) for (a, b), h, n in zip(core, stack.halo_zyx, image, strict=True)]
    block = volume[(slice(None), *(slice(a, b) for a, b in outer))]
    result = np.full((stack.n_columns, *(b - a for a, b in core)), -7, np.float32)
    for z, slab in slabs(block, [a for a, _ in outer], image, core, stack):
        result[:, z - core[0][0] : z - core[0][0] + slab.shape[1]] = slab
    return result


def compute_plainly(
    volume: NDArray[np.generic],
    rows: Sequence[str],
    scales: Sequence[float],
    matrix: NDArray[np.bool_],
    in_2d: Sequence[bool],
) -> NDArray[np.float32]:
    """The same for a whole volume by the reference implementation."""
    features = load_golden_module("ref").Features(rows, scales, matrix, in_2d)
    with np.errstate(all="ignore"):
        result: NDArray[np.float32] = features.compute(volume)
    return result


def least_size(scales: Sequence[float]) -> int:
    """The size rule: voxels that an axis must have for these scales."""
    return max(int(np.ceil(3.5 * scale)) + 1 for scale in scales)
