"""Many workers on a few cores, for `benchmarks.scaling`: a real scheduler and client, and workers that sleep."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import ours
from benchmarks.cases import Case, image, write_case
from benchmarks.standins import StandInCluster, stand_in_cluster

CASE = Case("mid-3d", "ordinary")
BUSY = 0.7  # share of the cores from which on a simulation measures the machine and not the scheduler
EDGE = 256


@dataclass(frozen=True)
class Inputs:
    """Files that a simulated run opens: their sizes decide what is shipped to workers.

    Parameters
    ----------
    project, volume : Path
    """

    project: Path
    volume: Path


def make_inputs(folder: Path) -> Inputs:
    """A project with a real forest, and a small volume."""
    stored = ours.write_image(folder / "small.zarr", image(CASE, (32, 32, 32))[0], "zyx")
    return Inputs(write_case(CASE, folder), stored)


def simulate(
    inputs: Inputs,
    workers: int,
    blocks: Sequence[int],
    seconds: Sequence[float],
    *,
    most_seconds: float = math.inf,
    samples: Sequence[int] = (),
) -> dict[str, Any]:
    """Run blocks on stand-ins.

    Parameters
    ----------
    inputs : Inputs
    workers : int
    blocks : sequence of int
        Their number along z, y, x.
    seconds : sequence of float
        How long blocks sleep, taken in turn.
    most_seconds : float
        After which no further block is submitted.
    samples : sequence of int
        Numbers of finished blocks at which memory is looked at.

    Returns
    -------
    dict
        ``efficiency`` is the time that all workers slept over the time that they were there; ``load`` the share of
        the cores that scheduler, stand-ins and client took; ``cpu_ms`` what a task takes of each, after the first
        sample that lies behind a quarter of the tasks, since all import their modules in the beginning.
    """
    with stand_in_cluster(workers) as cluster, _client() as client:
        order = {
            "address": cluster.address,
            "workers": workers,
            "project": str(inputs.project),
            "volume": str(inputs.volume),
            "blocks": list(blocks),
            "edge": EDGE,
            "seconds": list(seconds),
            "most_seconds": min(most_seconds, 1e9),
            "samples": list(samples),
            "key": uuid.uuid4().hex,
        }
        _tell(client, json.dumps(order))
        looks = [_look(cluster, _hear(client))]
        _tell(client, "go")
        while True:
            looks.append(_look(cluster, _hear(client)))
            if "tasks" in looks[-1]:
                break
        return {"workers": workers, "block_seconds": sum(seconds) / len(seconds), **_sum_up(looks, workers)}


def _look(cluster: StandInCluster, line: dict[str, Any]) -> dict[str, Any]:
    """What the client said, with time and memory of the others now."""
    cpu = {
        "scheduler": cluster.scheduler.cpu_seconds(),
        "workers": cluster.workers.cpu_seconds(),
        "client": line.pop("cpu"),
    }
    return {**line, "cpu": cpu, "scheduler_rss": cluster.scheduler.resident_bytes()}


def _sum_up(looks: Sequence[Mapping[str, Any]], workers: int) -> dict[str, Any]:
    first, last = looks[0], looks[-1]
    steady = next((look for look in looks if look.get("done", 0) >= last["tasks"] / 4), first)
    spent = {who: last["cpu"][who] - first["cpu"][who] for who in last["cpu"]}
    tasks = max(last["tasks"] - steady.get("done", 0), 1)
    return {
        "tasks": last["tasks"],
        "seconds": last["seconds"],
        "efficiency": last["slept"] / (workers * last["seconds"]),
        "tasks_a_second": last["tasks"] / last["seconds"],
        "load": sum(spent.values()) / last["seconds"] / len(os.sched_getaffinity(0)),
        "scheduler_load": spent["scheduler"] / last["seconds"],
        "cpu_ms": {who: 1e3 * (last["cpu"][who] - steady["cpu"][who]) / tasks for who in spent},
        "machine_load": os.getloadavg()[0],
        "memory": [
            {"done": look.get("done", look.get("tasks", 0)), "client": look["rss"], "scheduler": look["scheduler_rss"]}
            for look in looks
        ],
    }


@contextlib.contextmanager
def _client() -> Iterator[psutil.Popen]:
    process = psutil.Popen(
        [sys.executable, "-m", "benchmarks.submitter"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def _tell(process: psutil.Popen, line: str) -> None:
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _hear(process: psutil.Popen) -> dict[str, Any]:
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the client of the simulation ended with {process.wait()}")
    heard: dict[str, Any] = json.loads(line)
    return heard
