from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from pipeline.blocks import Box
from pipeline.plan import Plan, make
from pipeline.prediction import make_task, predict_block
from pipeline.project import Project
from pipeline.task_memory import TILE_2D, TILE_3D, TILE_THIN, sum_halos, tile_shape
from pipeline.volume import Volume
from tests.models import full_selection, grow_forest, make_project, make_stage, memory_volume

LARGE = {"deep": full_selection((0.7, 1.6, 3.5), in_2d=False), "flat": full_selection((0.7, 1.6, 3.5), in_2d=True)}
SMALL = {"deep": full_selection((1.0,), in_2d=False), "flat": full_selection((1.0,), in_2d=True)}


def volume_and_project(
    shape: tuple[int, ...], axes: str, selections: list[Any], labels: tuple[int, ...] = (1, 2), dtype: str = "uint8"
) -> tuple[Volume, Project]:
    rng = np.random.default_rng(0)
    volume = memory_volume(rng.integers(0, 255, shape).astype(dtype), axes)
    stages = []
    channels = volume.n_channels
    for selection in selections:
        rows = rng.random((50, selection.n_columns(channels, volume.whole.shape[1]))).astype(np.float32)
        stages.append(make_stage(grow_forest(rng, rows, labels=labels), selection))
        channels += labels[-1]
    return volume, make_project(stages, axes, volume.n_channels)


def peak_bytes(volume: Volume, project: Project, plan: Plan, block: Box) -> int:
    """What one task allocates at most, the volume in memory apart, in a thread that has no scratch yet."""
    task = make_task(volume, project, plan)
    predict_block(task, Box.whole((1, min(8, block.shape[1]), 16, 16)))  # compiled, imported
    tracemalloc.start()
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(predict_block, task, block).result()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


CASES: dict[str, Any] = {
    "3-D": ((64, 100, 130), "zyx", [LARGE["deep"]], {}),
    "3-D, small scales": ((64, 100, 130), "zyx", [SMALL["deep"]], {}),
    "3-D, axes of the file reversed": ((130, 100, 64), "xyz", [SMALL["deep"]], {}),
    "3-D in 2-D": ((40, 100, 130), "zyx", [LARGE["flat"]], {}),
    "2-D": ((700, 900), "yx", [LARGE["flat"]], {}),
    "thin slab": ((30, 300, 300), "zyx", [LARGE["deep"]], {"region": Box((0, 9, 0, 0), (1, 10, 300, 300))}),
    "many channels": ((32, 64, 64, 6), "zyxc", [LARGE["deep"]], {}),
    "many classes, most unknown": ((500, 500), "yx", [SMALL["flat"]], {"labels": (3, 40)}),
    "autocontext 2-D": ((500, 500), "yx", [LARGE["flat"], SMALL["flat"]], {}),
    "autocontext 3-D": ((48, 90, 90), "zyx", [SMALL["deep"], LARGE["deep"]], {"dtype": "uint16"}),
    "features": ((32, 64, 64), "zyx", [LARGE["deep"]], {"outputs": ["features"]}),
    "all results": (
        (400, 400), "yx", [SMALL["flat"]],
        {"outputs": ["probabilities", "segmentation", "uncertainty", "features"], "stored_type": "uint8"},
    ),
    "8 bits": ((600, 600), "yx", [SMALL["flat"]], {"stored_type": "uint8", "labels": (1, 2, 3, 4, 5)}),
    "uncertainty": ((600, 600), "yx", [SMALL["flat"]], {"outputs": ["uncertainty"], "labels": (1, 2, 3, 4, 5)}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_task_takes_no_more_than_planned_and_not_far_less(name: str) -> None:
    shape, axes, selections, options = CASES[name]
    options = dict(options)
    made = {key: options.pop(key) for key in ("labels", "dtype") if key in options}
    volume, project = volume_and_project(shape, axes, selections, **made)
    plan = make(volume.whole, volume.n_channels, str(volume.dtype), volume.dims, project, **options)
    block = max(plan.blocks(), key=lambda box: box.size)
    peak = peak_bytes(volume, project, plan, block)
    assert peak <= plan.task_bytes <= 2 * peak + (2 << 20)


def test_tiles_are_wider_in_thin_regions_and_where_no_scale_is_deep() -> None:
    _, flat = volume_and_project((40, 40), "yx", [SMALL["flat"]])
    volume, deep = volume_and_project((20, 40, 40), "zyx", [SMALL["deep"]])
    stacks = make(volume.whole, 1, "uint8", "zyx", deep).stacks
    assert tile_shape(stacks[0], 8) == TILE_3D
    assert tile_shape(stacks[0], 7) == TILE_THIN
    assert tile_shape(make(Box.whole((1, 1, 40, 40)), 1, "uint8", "yx", flat).stacks[0], 8) == TILE_2D
    assert sum_halos([*stacks, *stacks]) == tuple(2 * n for n in stacks[0].halo_zyx)
    assert sum_halos([]) == (0, 0, 0)
