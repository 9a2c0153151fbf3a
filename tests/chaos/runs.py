"""Runs on a cluster: one that nobody disturbs, and one whose workers are killed."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.chaos.client import Running, reason
from tests.chaos.cluster import Cluster
from tests.chaos.job import Job
from tests.chaos.watcher import chunks, watching

MOST_STARTS = 40
STRETCHES = 20  # of a run, for its usual pace


class Chaos:
    """What runs have in common.

    Parameters
    ----------
    folder : Path
        For everything.
    workers : int
        Of each cluster.
    every : float
        Seconds between two killed workers.
    seed : int
    """

    def __init__(self, folder: Path, workers: int, every: float, seed: int) -> None:
        self.folder = folder
        self.workers = workers
        self.every = every
        self.chance = random.Random(seed)

    @contextlib.contextmanager
    def cluster(self, name: str) -> Iterator[Cluster]:
        """A cluster of its own for each run, so that none has been warmed up by another."""
        with Cluster(self.folder / f"cluster-{name}", self.workers) as cluster:
            yield cluster

    @contextlib.contextmanager
    def kills(self, cluster: Cluster) -> Iterator[Counter[str]]:
        """SIGKILL a random worker every few seconds; start anew what has ended by itself."""
        ended, counts = threading.Event(), Counter[str]()

        def kill() -> None:
            while not ended.wait(self.every):
                counts["workers"] += cluster.kill_worker(self.chance)
                cluster.revive()

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            yield counts
        finally:
            ended.set()
            thread.join()

    def run_undisturbed(self, job: Job, out: Path) -> float:
        """Seconds that the command takes."""
        with self.cluster(out.stem) as cluster:
            return run_once(job, out, cluster)

    def run_killed(self, job: Job, out: Path, expected: Path) -> dict[str, Any]:
        """Kill workers and nothing else; the command has to get through without being started again."""
        with self.cluster("killed") as cluster, watching(out, expected) as seen, self.kills(cluster) as counts:
            seconds = run_once(job, out, cluster)
        check_equal(out, expected)
        steady = steady_seconds(out)
        return {
            "seconds": seconds,
            "steady_seconds": steady,
            "killed_workers": counts["workers"],
            "starts": 1,
            "seen": seen,
        }


def run_once(job: Job, out: str | Path, cluster: Cluster) -> float:
    """Run the command, which has to end well; returns its seconds."""
    began = time.monotonic()
    outcome = Running(job, out, cluster.address).wait()
    assert outcome is not None
    assert outcome.code == 0, reason(outcome) or outcome.code
    return time.monotonic() - began


def steady_seconds(out: Path) -> float:
    """What a run would have taken at its usual pace: twenty times the median time of a twentieth of its chunks.

    Other work on the same machine comes and goes, and slows some stretches of a run and not others.
    """
    written = np.sort([(out / key).stat().st_mtime for key in chunks(out) if key.startswith("0/")])
    marks = written[np.linspace(0, len(written) - 1, STRETCHES + 1).astype(int)]
    return float(np.median(np.diff(marks)) * STRETCHES)


def check_equal(found: Path, expected: Path) -> None:
    """Compare the bytes of all chunks of all levels; the documents name the volume."""
    names, wanted = set(chunks(found)), set(chunks(expected))
    assert names == wanted, (names ^ wanted, "differ")
    different = [key for key in sorted(wanted) if (found / key).read_bytes() != (expected / key).read_bytes()]
    assert not different, different
