"""How far runs scale: ``python -m benchmarks.scaling [--only measured]``; `benchmarks.scaling_report` shows it.

*measured*: the real run with one and with two worker processes of one thread each. *simulated*: the real submission and
a real scheduler with ten, a hundred and more workers that sleep as long as a block takes. *rates*: shorter and shorter
blocks, until something gives. *memory*: a million blocks. *plan*: a hundred terabytes, on paper. Answers of the parts
that are asked replace those in ``OUT/scaling.json``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import harness, ours
from benchmarks.cases import image, write_case
from benchmarks.hundred_terabytes import work_out
from benchmarks.machine import describe
from benchmarks.simulation import BUSY, CASE, EDGE, make_inputs, simulate
from pipeline.progress import BlockDone, Event, Progress, StageFinished
from pipeline.project import open_project
from pipeline.run import Request, run
from pipeline.volume import open_raw

SHAPE = {"full": (256, 512, 512), "quick": (128, 256, 256), "tiny": (40, 40, 40)}
PAIRS = {"full": 3, "quick": 2, "tiny": 1}
BUDGET = {"full": 400.0, "quick": 60.0, "tiny": 0.0}
WORKERS = {"full": (10, 100), "quick": (10, 100), "tiny": (3,)}
ROUNDS = {"full": 20, "quick": 5, "tiny": 2}  # blocks of each worker
TINY_BLOCK = 0.05  # seconds
RATES = {"full": (2, 4, 8, 16, 32), "quick": (4, 16), "tiny": ()}  # how many times shorter blocks are
RATE_WORKERS = 100
RATE_SECONDS = 20.0
MANY = {"full": 10**6, "quick": 10**4, "tiny": 200}
MEMORY_WORKERS = 10
MOST_SECONDS = {"full": 2400.0, "quick": 120.0, "tiny": 60.0}
SPARE_LOAD = 0.5  # of the cores: what a simulation is dilated to, where it would take more

Found = dict[str, Any]


def measure_processes(size: str, folder: Path, _: Mapping[str, Any]) -> Found:
    """One worker process and two, in turn, and how long a block takes on one."""
    project = open_project(write_case(CASE, folder))
    stored = ours.write_image(folder / "measured.zarr", image(CASE, SHAPE[size])[0], "zyx")
    volume = open_raw(stored, axes="zyx")
    blocks: list[float] = []
    cpu: dict[int, list[float]] = {1: [], 2: []}

    def with_workers(number: int) -> float:
        marks: list[float] = []
        stages: list[float] = []

        def see(event: Event) -> None:
            if isinstance(event, BlockDone) and event.name == "predict":
                marks.append(time.monotonic())
            if isinstance(event, StageFinished) and event.name in ("predict", "pyramid"):
                stages.append(event.seconds)

        before = os.times()
        request = Request(project, volume, folder / "out.zarr", mode="overwrite", scheduler="local", workers=number)
        run(request, Progress(see))
        after = os.times()
        cpu[number].append(sum(after[:4]) - sum(before[:4]))
        if number == 1:
            blocks.extend(b - a for a, b in itertools.pairwise(marks))
        return sum(stages)

    contestants = {"one": lambda: with_workers(1), "two": lambda: with_workers(2)}
    rounds = harness.run_rounds(contestants, PAIRS[size], BUDGET[size], warm=("two",))
    voxels = SHAPE[size][0] * SHAPE[size][1] * SHAPE[size][2]
    seconds = rounds.median("one")
    mean = statistics.fmean(blocks) if blocks else 1.0
    return {
        "shape": SHAPE[size],
        "seconds": {who: rounds.median(who) for who in contestants},
        "cpu_seconds": {str(number): statistics.median(found) for number, found in cpu.items()},
        "one_over_two": rounds.ratio("one", "two"),
        "voxels_a_second": voxels / seconds,
        "block_seconds": seconds * EDGE**3 / voxels,
        "spread": sorted(taken / mean for taken in blocks)[:: max(len(blocks) // 16, 1)] or [1.0],
        "machine_load": os.getloadavg()[0],
    }


def simulate_workers(size: str, folder: Path, known: Mapping[str, Any]) -> Found:
    """Ten workers and a hundred, each with blocks of 256³ one after the other."""
    inputs, seconds, spread = make_inputs(folder), *_durations(size, known)
    rows = []
    for workers in WORKERS[size]:
        dilation = 1.0
        while True:
            row = simulate(inputs, workers, (ROUNDS[size], workers, 1), [seconds * dilation * part for part in spread])
            rows.append({**row, "dilation": dilation})
            if row["load"] < BUSY or size == "tiny":
                break
            dilation *= row["load"] / SPARE_LOAD
    return {"block_seconds": seconds, "rows": rows}


def shorten_blocks(size: str, folder: Path, known: Mapping[str, Any]) -> Found:
    """A hundred workers with ever shorter blocks: as much for the scheduler as more workers, or faster ones."""
    inputs, seconds, spread = make_inputs(folder), *_durations(size, known)
    rows = []
    for times in RATES[size]:
        shorter = seconds / times
        rounds = max(round(RATE_SECONDS / shorter), 8)
        row = simulate(
            inputs,
            RATE_WORKERS,
            (rounds, RATE_WORKERS, 1),
            [shorter * part for part in spread],
            most_seconds=4 * RATE_SECONDS,
        )
        rows.append({**row, "times": times})
    return {"rows": rows}


def fill_memory(size: str, folder: Path, _: Mapping[str, Any]) -> Found:
    """As many blocks as a large run has, which take no time: what client and scheduler hold meanwhile.

    A real scheduler gets as far as there is time; a client that answers at once, to the end.
    """
    wanted = MANY[size]
    samples = [n for n in (100, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000) if n < wanted]
    alone = {str(number): _echo(number) for number in (wanted // 100, wanted // 10, wanted)}
    blocks = (wanted // 100, 10, 10)
    real = simulate(
        make_inputs(folder), MEMORY_WORKERS, blocks, [0.0], most_seconds=MOST_SECONDS[size], samples=samples
    )
    return {"wanted": wanted, "real": real, "alone": alone}


def _echo(number: int) -> list[dict[str, int]]:
    command = [sys.executable, "-m", "benchmarks.echo", str(number)]
    found: list[dict[str, int]] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def plan_large(size: str, folder: Path, known: Mapping[str, Any]) -> Found:
    """A hundred terabytes on paper."""
    return dict(work_out())


PARTS: dict[str, Callable[[str, Path, Mapping[str, Any]], Found]] = {
    "measured": measure_processes,
    "simulated": simulate_workers,
    "rates": shorten_blocks,
    "memory": fill_memory,
    "plan": plan_large,
}


def _durations(size: str, known: Mapping[str, Any]) -> tuple[float, list[float]]:
    """Seconds of a block of 256³ voxels as measured, and by what factors blocks differ."""
    if size == "tiny" or "measured" not in known:
        return TINY_BLOCK, [0.9, 1.0, 1.1]
    measured = known["measured"]
    return measured["block_seconds"], measured["spread"]


def main() -> None:
    """Measure, and put the answers beside those that are there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description="Measure how far runs scale.")
    parser.add_argument("--size", choices=harness.SIZES, default="full")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--only", choices=tuple(PARTS), action="append", help="may be given several times")
    chosen = parser.parse_args()
    path = chosen.out / "scaling.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    document: Found = {**known, "question": "scaling", "size": chosen.size, "machine": describe()}
    for part in chosen.only or PARTS:
        print(f"== {part} (load {os.getloadavg()[0]:.1f})", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            found = PARTS[part](chosen.size, Path(folder), document)
            document[part] = {**found, "seconds_taken": time.monotonic() - started}
        harness.save(path, document)
        print(json.dumps(harness.clean(document[part]), indent=1), flush=True)


if __name__ == "__main__":
    main()
