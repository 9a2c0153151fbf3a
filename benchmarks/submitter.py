"""The client's side of a simulated run, a process of its own: ``python -m benchmarks.submitter``.

It reads one JSON document, runs the blocks of a plan through the submission of real runs (`pipeline.run_steps`) with
tasks that sleep instead of computing, and prints what it saw as JSON lines: a sample of its memory now and then, the
result at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import psutil

from pipeline.blocks import Box
from pipeline.cluster import connect
from pipeline.errors import CancelledError
from pipeline.pending import Pending
from pipeline.plan import make
from pipeline.prediction import Task, make_task
from pipeline.project import open_project
from pipeline.run_steps import run_tasks
from pipeline.volume import open_raw

SCATTER = 7919  # a prime, to take durations of the list in an order that has nothing to do with the grid's


async def sleep_block(task: Task, region: Box, seconds: Sequence[float], block: Box) -> None:
    """The block task of a simulation: takes the time of a real one, and nothing else of the machine."""
    await asyncio.sleep(_seconds_of(region, seconds, block))


def _seconds_of(region: Box, seconds: Sequence[float], block: Box) -> float:
    _, _, y, x = region.shape
    place = sum((a - o) * n for a, o, n in zip(block.start[1:], region.start[1:], (y * x, x, 1), strict=True))
    return seconds[place * SCATTER // 64 % len(seconds)]


def submit(order: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run the blocks; gives seconds and the time that all tasks slept together.

    Parameters
    ----------
    order : dict
        ``address``, ``workers``, ``project``, ``volume``, ``blocks`` (their number along z, y, x), ``edge`` (voxels of
        a block), ``seconds`` (durations that blocks take in turn), ``most_seconds`` and ``samples`` (counts of blocks
        at which `tell` is called).
    tell : callable
        Called with the blocks that are done, the seconds so far and this process's memory.
    """
    project, volume = open_project(order["project"]), open_raw(order["volume"], axes="zyx")
    edge, seconds = order["edge"], order["seconds"]
    image = Box((0, 0, 0, 0), (1, *(n * edge for n in order["blocks"])))
    plan = replace(make(image, 1, str(volume.dtype), "zyx", project), block=(1, edge, edge, edge))
    samples, done, slept = sorted(order["samples"], reverse=True), 0, 0.0
    process = psutil.Process()

    def on_done(block: Box) -> None:
        nonlocal done, slept
        done += 1
        slept += _seconds_of(plan.region, seconds, block)
        if samples and done >= samples[-1]:
            tell({"done": samples.pop(), **_look(process), "seconds": time.monotonic() - started})

    with connect(order["address"], order["workers"]) as client:
        client.run(_import)
        tell(_look(process))
        sys.stdin.readline()
        started = time.monotonic()
        with contextlib.suppress(CancelledError):
            run_tasks(
                client,
                sleep_block,
                Pending(plan.region, plan.block),
                f"predict-{order['key']}",
                (make_task(volume, project, plan), plan.region, seconds),
                on_done,
                lambda: time.monotonic() > started + order["most_seconds"],
            )
        passed = time.monotonic() - started
        return {"tasks": done, "slept": slept, **_look(process), "seconds": passed}


def _look(process: psutil.Process) -> dict[str, float]:
    """Time of a core and memory that this process has taken so far."""
    times = process.cpu_times()
    return {"cpu": times.user + times.system, "rss": process.memory_info().rss}


def _import() -> None:
    """Does nothing: to unpickle it, a worker imports all that its tasks need, once in all the hours of a real run."""


def main() -> None:
    """Read the order, run it, print."""
    order = json.loads(sys.stdin.readline())
    print(json.dumps(submit(order, lambda line: print(json.dumps(line), flush=True))), flush=True)


if __name__ == "__main__":
    from benchmarks import submitter  # tasks are to be pickled by this name, as those of real runs are

    submitter.main()
