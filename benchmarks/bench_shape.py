"""What a voxel of a box with its halo costs beside a voxel of the box: the share that decides the shape of a request.

Boxes of many shapes are predicted on one core, and their times fitted with ``forest * box + filters * box with halo``.
`pipeline.serving.request_shape` holds what came out. ``python -m benchmarks.bench_shape``
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks import harness
from benchmarks.cases import Case, image, write_case
from pipeline import open_project
from pipeline.blocks import Box
from pipeline.plan import make
from pipeline.prediction import Task, make_task, predict_block
from pipeline.volume import open_raw

CASES = tuple(
    Case(*pair)
    for pair in (
        *(("small-3d", depth) for depth in ("shallow", "ordinary")),
        *(("mid-3d", depth) for depth in ("shallow", "ordinary", "deep")),
        *(("full-3d", "ordinary"), ("plane-33", "ordinary"), ("channels-75", "ordinary")),
    )
)
# Boxes (z, y, x): planes, rods and cubes; for images that are planes, only the first kind.
FLAT = ((512, 512), (256, 256), (128, 128), (64, 64), (16, 512), (64, 512))
DEEP = ((64, 64, 64), (16, 64, 64), (4, 256, 256), (32, 128, 128), (2, 512, 512), (64, 16, 64))
SCALE = {"full": 1, "quick": 2, "tiny": 5}
REPEATS = 3


def measure(size: str) -> Mapping[str, Any]:
    """The share in each project."""
    chosen = CASES[::6] if size == "tiny" else CASES
    with harness.pinned(1), tempfile.TemporaryDirectory() as folder:
        return {"shares": [_measure_case(case, SCALE[size], Path(folder)) for case in chosen]}


def _measure_case(case: Case, scale: int, folder: Path) -> dict[str, Any]:
    depth = 1 if case.in_2d else 128 // scale
    shape = depth, 640 // scale, 640 // scale
    task = _make_task(case, shape, folder)
    rows = []
    for box in [(1, *plane) for plane in FLAT] + ([] if case.in_2d else list(DEEP)):
        first = (depth - max(box[0] // scale, 1)) // 2, 64 // scale, 64 // scale
        z, y, x = (a + max(n // scale, 1) for a, n in zip(first, box, strict=True))
        wanted = Box((0, *first), (1, z, y, x))
        rows.append((wanted.size, wanted.grow(task.halo_zyx, task.image).size, _seconds(task, wanted)))
    table = np.array(rows, float)
    # Relative errors count, so that small boxes do.
    (forest, filters), _ = nnls(table[:, :2] / table[:, 2:], np.ones(len(table)))
    return {
        "selection": case.selection,
        "depth": case.depth,
        "halo": task.halo_zyx,
        "forest_ns": 1e9 * forest,
        "filters_ns": 1e9 * filters,
        "share": filters / forest if forest else 0.0,
    }


def _make_task(case: Case, shape: tuple[int, int, int], folder: Path) -> Task:
    path = folder / f"{case.selection}.npy"
    np.save(path, case.stored(image(case, shape)))
    volume, project = open_raw(path, axes=case.dims), open_project(write_case(case, folder))
    plan = make(volume.whole, volume.n_channels, str(volume.dtype), volume.dims, project)
    return make_task(volume, project, plan)


def _seconds(task: Task, box: Box) -> float:
    """Processor time of a prediction that is warm, the least of some."""
    predict_block(task, box)
    found = []
    for _ in range(REPEATS):
        began = time.thread_time()
        predict_block(task, box)
        found.append(time.thread_time() - began)
    return min(found)


if __name__ == "__main__":
    harness.main("shape", measure)
