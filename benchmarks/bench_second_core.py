"""What a second core adds: two threads of one run against two processes that know nothing of each other."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from threading import BrokenBarrierError
from time import monotonic
from typing import Any

from benchmarks import harness, ours
from benchmarks.cases import Case, image, write_case
from pipeline.blocks import Box
from pipeline.project import open_project
from pipeline.volume import open_raw

CASES = (Case("small-3d", "shallow"), Case("mid-3d", "ordinary"))
SHAPES = {"full": (256, 256, 256), "quick": (128, 128, 128), "tiny": (40, 40, 40)}
PAIRS = {"full": 5, "quick": 2, "tiny": 1}
BUDGET = {"full": 45.0, "quick": 10.0, "tiny": 0.0}
PATIENCE = 120.0  # seconds that one process waits for the other before it gives up

_barrier: Any = None


def measure(size: str) -> Mapping[str, Any]:
    """Both cases: the same volume in two threads, in two processes half each, and in one thread."""
    with harness.pinned(2) as cores, tempfile.TemporaryDirectory() as folder:
        if len(cores) < 2:
            return {"cases": [], "note": "one core only"}
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(2)
        with ProcessPoolExecutor(2, context, initializer=_start, initargs=(barrier,)) as pool:
            chosen = CASES[:1] if size == "tiny" else CASES
            rows = [_measure_case(case, size, Path(folder), cores, pool) for case in chosen]
    return {"cases": rows}


def _measure_case(case: Case, size: str, folder: Path, cores: list[int], pool: ProcessPoolExecutor) -> dict[str, Any]:
    path, shape = write_case(case, folder), SHAPES[size]
    stored = ours.write_image(folder / f"{case.selection}.zarr", image(case, shape)[0], "zyx")
    project, volume = open_project(path), open_raw(stored, axes="zyx")
    middle = shape[0] // 2
    halves = [Box((0, 0, 0, 0), (1, middle, *shape[1:])), Box((0, middle, 0, 0), (1, *shape))]

    def processes() -> float:
        work = [
            pool.submit(_predict_half, str(path), str(stored), folder / f"half-{core}.zarr", half, core)
            for half, core in zip(halves, cores, strict=True)
        ]
        spans = [future.result() for future in work]
        return max(stop for _, stop in spans) - min(start for start, _ in spans)

    def one_thread() -> float:
        with harness.pinned(1):
            return ours.predict_file(project, volume, folder / "one.zarr", 1)

    contestants: dict[str, harness.Contestant] = {
        "threads": partial(ours.predict_file, project, volume, folder / "threads.zarr", 2),
        "processes": processes,
        "one": one_thread,
    }
    rounds = harness.run_rounds(contestants, PAIRS[size], BUDGET[size], warm=("threads", "processes"))
    return {
        "selection": case.selection,
        "depth": case.depth,
        "shape": shape,
        "seconds": {who: rounds.median(who) for who in contestants},
        "processes_over_threads": rounds.ratio("processes", "threads"),
        "one_over_threads": rounds.ratio("one", "threads"),
    }


def _start(barrier: Any) -> None:
    """Called once in each process of the pool."""
    global _barrier
    _barrier = barrier


def _predict_half(project: str, volume: str, out: Path, region: Box, core: int) -> tuple[float, float]:
    """One process's half on its own core; when it started and stopped, on the clock that all processes share."""
    harness.pin([core])
    opened, raw = open_project(project), open_raw(volume, axes="zyx")
    try:
        _barrier.wait(PATIENCE)
    except BrokenBarrierError:
        raise RuntimeError("the other process did not start") from None
    started = monotonic()
    ours.predict_file(opened, raw, out, 1, region)
    return started, monotonic()


if __name__ == "__main__":
    harness.main("second_core", measure)
