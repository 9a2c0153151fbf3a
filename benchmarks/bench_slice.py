"""The first slice of a large volume on one core: opened, predicted lazily and cut, against blocks that cover it.

The project is open already, as it is for whoever looks at volume after volume; opening it is a figure of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness, ours, peers
from benchmarks.bench_volume import place
from benchmarks.cases import Case, image, train, write_case
from pipeline import open_project, open_volume, predict
from pipeline.blocks import Box, grid
from pipeline.plan import make
from pipeline.prediction import Task, make_task, predict_block
from pipeline.project import Project
from pipeline.volume import open_raw

CASES = (Case("small-3d", "shallow"), Case("mid-3d", "ordinary"))
# The volume, and the slice inside it: first voxel along z, y, x, and edge; blocks that cover it, and their edge.
SHAPES = {"full": (128, 640, 640), "quick": (128, 384, 384), "tiny": (48, 64, 64)}
SLICES = {"full": ((90, 64, 64), 512), "quick": ((90, 64, 64), 256), "tiny": ((40, 16, 16), 32)}
BLOCK = {"full": 64, "quick": 64, "tiny": 16}
VIGRA_BLOCKS = {"full": 4, "quick": 1, "tiny": 1}
PAIRS = {"full": 5, "quick": 2, "tiny": 1}
BUDGET = {"full": 60.0, "quick": 12.0, "tiny": 0.0}


def measure(size: str) -> Mapping[str, Any]:
    """Both projects, in seconds and ratios."""
    with (
        harness.pinned(1) as cores,
        peers.open_vigra(cores) as vigra,
        tempfile.TemporaryDirectory() as folder,
    ):
        chosen = CASES[:1] if size == "tiny" else CASES
        rows = [_measure_case(case, size, vigra, Path(folder)) for case in chosen]
    return {"slices": rows}


def slice_box(size: str) -> Box:
    """The slice, one plane of the volume."""
    (z, y, x), edge = SLICES[size]
    return Box((0, z, y, x), (1, z + 1, y + edge, x + edge))


def covering_blocks(size: str) -> list[Box]:
    """The blocks of a regular grid over the volume that the slice lies in."""
    edge, box = BLOCK[size], slice_box(size)
    start = [n // edge * edge for n in box.start[1:]]
    stop = [min(-(-n // edge) * edge, m) for n, m in zip(box.stop[1:], SHAPES[size], strict=True)]
    return list(grid(Box((0, *start), (1, *stop)), (1, edge, edge, edge)))  # type: ignore[arg-type]


def _measure_case(case: Case, size: str, vigra: peers.Vigra | None, folder: Path) -> dict[str, Any]:
    project, raw = write_case(case, folder), image(case, SHAPES[size])
    stored = ours.write_image(folder / f"{case.selection}.zarr", raw[0], "zyx")
    box, blocks = slice_box(size), covering_blocks(size)
    task = _make_task(project, stored)
    contestants: dict[str, harness.Contestant] = {
        "ours": partial(_open_and_slice, open_project(project), stored, box),
        "open_project": harness.timed(partial(open_project, project)),
        "ours_compute": harness.timed(partial(predict_block, task, box)),
        "ours_blocks": harness.timed(partial(_predict_all, task, blocks)),
    }
    some = blocks[:: max(len(blocks) // VIGRA_BLOCKS[size], 1)][: VIGRA_BLOCKS[size]]
    if vigra is not None:
        contestants |= _vigra_contestants(case, vigra, project, raw, some, folder, task, box)
    rounds = harness.run_rounds(contestants, PAIRS[size], BUDGET[size], warm=("ours", "ours_compute"))
    rows = box.size
    forest_us = 1e6 * rounds.median("vigra_forest") / rows
    allowed = 0.15 * forest_us / 2.5
    return {
        "selection": case.selection,
        "depth": case.depth,
        "volume": SHAPES[size],
        "slice": box.shape[2:],
        "blocks": len(blocks),
        "vigra_blocks_measured": len(some),
        "halo": ours.halo_of(case, SHAPES[size][0]),
        "seconds": {who: rounds.median(who) for who in ("ours", "ours_compute", "ours_blocks", "open_project")},
        "vigra_seconds": rounds.median("vigra") * len(blocks) / len(some),
        "vigra_us_per_row": forest_us,
        "allowed_seconds": allowed,
        "ours_blocks_over_ours": rounds.ratio("ours_blocks", "ours"),
        "vigra_over_ours": rounds.ratio("vigra", "ours", scale=len(blocks) / len(some)),
    }


def _vigra_contestants(
    case: Case, vigra: peers.Vigra, project: Path, raw: Any, blocks: Sequence[Box], folder: Path, task: Task, box: Box
) -> dict[str, harness.Contestant]:
    """Some covering blocks through vigra's pipeline, and the slice's own rows through its forest alone."""
    source, rows = (str(folder / f"{case.selection}-{name}.npy") for name in ("raw", "rows"))
    np.save(source, raw)
    features = ours.compute_features_of(task.stages[0], raw, box)
    np.save(rows, np.ascontiguousarray(features.reshape(len(features), -1).T))
    forest = {"project": str(project), "groups": train(case).forest.n_groups}
    whole, halo = Box((0, 0, 0, 0), (1, *raw.shape[1:])), ours.halo_of(case, raw.shape[1])
    request = {
        "image": source,
        "features": peers.list_features(case.features, raw.shape[1]),
        "threads": 1,
        "blocks": [place(block, halo, whole) for block in blocks],
        **forest,
    }
    return {
        "vigra": partial(vigra.ask, "blocks", **request),
        "vigra_forest": partial(vigra.ask, "forest", rows=rows, **forest),
    }


def _make_task(project: Path, stored: Path) -> Task:
    opened, volume = open_project(project), open_raw(stored, axes="zyx")
    plan = make(volume.whole, volume.n_channels, str(volume.dtype), volume.dims, opened)
    return make_task(volume, opened, plan)


def _open_and_slice(project: Project, stored: Path, box: Box) -> float:
    """What somebody waits for who opens a volume and looks at it; gives seconds."""
    started = time.perf_counter()
    lazy: Any = predict(open_volume(stored, axes="zyx"), project)
    _, z, y, x = box.slices()
    lazy.isel(z=z.start, y=y, x=x).compute()
    return time.perf_counter() - started


def _predict_all(task: Task, blocks: Sequence[Box]) -> None:
    for block in blocks:
        predict_block(task, block)


if __name__ == "__main__":
    harness.main("slice", measure)
