"""Runs that are disturbed in every way end with the bytes of one that is not: ``python -m tests.chaos``.

The command is killed again and again with all that it started, and goes on; then it computes on a cluster whose workers
are killed every few seconds, one of them being stopped for a while, and whose scheduler is killed, too. Its short form
is tests/pipeline/test_interruption.py.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zarr

from tests.commands import Outcome, start
from tests.oracles import GOLDEN
from tests.outputs import contents
from tests.served import Cluster, running_scheduler

LONGEST_LIFE = 6.0  # seconds until a command is killed, at most
FAILED, KILLED = 1, -signal.SIGKILL
CHUNK_EDGE = 32


def make_job(folder: Path, edge: int) -> list[str]:
    """A project, a volume of random values in chunks, and options."""
    values = np.random.default_rng(0).integers(0, 256, (edge,) * 3, "u1")
    zarr.create_array(folder / "raw.zarr", data=values, chunks=(CHUNK_EDGE,) * 3)
    return [str(GOLDEN / "projects" / "pc_3d.ilp"), str(folder / "raw.zarr"), "--axes", "zyx", "--json"]


def end(process: subprocess.Popen[str]) -> Outcome:
    """Wait for the end of a command, however long it takes; it ends with us."""
    try:
        out, err = process.communicate()
    finally:
        process.kill()
    return Outcome(process.returncode, out.splitlines(), err.splitlines())


def run_killed(job: list[str], out: Path, kills: int, chance: random.Random) -> int:
    """Kill the command, and all that it started, `kills` times if it lives so long; returns how often it went on.

    Raises
    ------
    AssertionError
        If there is an output before a run has ended, or a run ends in another way than well or killed.
    """
    for number in range(kills):
        process = start("predict", *job[:2], out, *job[2:], "--resume", "--scheduler", "local", "--workers", "2")
        timer = threading.Timer(chance.uniform(0.5, LONGEST_LIFE), _kill_group, [process])
        timer.start()
        code = end(process).code
        timer.cancel()
        if code == 0:
            return number
        assert code == KILLED, code
        assert not out.exists()
    assert end(start("predict", *job[:2], out, *job[2:], "--resume")).code == 0
    return kills


def run_on_cluster(job: list[str], out: Path, seconds: float, scheduler_kills: int) -> int:
    """Compute while workers are killed every `seconds`; returns how often the command had to be started."""
    with running_scheduler(workers=2) as cluster, _disturbed(cluster, seconds, scheduler_kills) as disturbed:
        for number in range(1, 20):
            process = start("predict", *job[:2], out, *job[2:], "--resume", "--scheduler", cluster.address)
            outcome = end(process)
            if outcome.code == 0:
                print(f"{disturbed['workers']} workers and {disturbed['schedulers']} schedulers were killed")
                return number
            assert outcome.code == FAILED, outcome.err[-1:]  # the scheduler went away
            assert not out.exists()
        raise AssertionError(f"no end after {number} starts: {outcome.err[-1:]}")


@contextmanager
def _disturbed(cluster: Cluster, seconds: float, scheduler_kills: int) -> Iterator[dict[str, int]]:
    """Kill and replace workers in the background; stop one for a while; kill the scheduler now and then."""
    ended, counts = threading.Event(), {"workers": 0, "schedulers": 0}

    def disturb() -> None:
        while not ended.wait(seconds):
            cluster.kill_worker()
            cluster.add_workers(1)
            counts["workers"] += 1
            if counts["workers"] % 3 == 0:
                cluster.workers[0].send_signal(signal.SIGSTOP)
                ended.wait(seconds)
                cluster.workers[0].send_signal(signal.SIGCONT)
            if counts["workers"] % 4 == 0 and counts["schedulers"] < scheduler_kills:
                cluster.scheduler.kill()
                cluster.scheduler.wait()
                cluster.start_scheduler()
                counts["schedulers"] += 1

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        yield counts
    finally:
        ended.set()
        thread.join()


def _kill_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def check_equal(disturbed: Path, undisturbed: Path) -> None:
    """Compare the values of all chunks; the documents name the output."""
    found, expected = (
        {key: value for key, value in contents(path).items() if "/c/" in key} for path in (disturbed, undisturbed)
    )
    assert found.keys() == expected.keys()
    different = [key for key in expected if found[key] != expected[key]]
    assert not different, different


def main() -> None:
    """Run all, with the numbers of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=192, help="edge of the volume in voxels")
    parser.add_argument("--kills", type=int, default=200, help="how often the command is killed")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two killed workers")
    parser.add_argument("--schedulers", type=int, default=2, help="how often the scheduler is killed")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = make_job(folder, given.edge)
        began = time.monotonic()
        assert end(start("predict", *job[:2], folder / "quiet.zarr", *job[2:])).code == 0
        print(f"undisturbed: {time.monotonic() - began:.0f} s")
        done = 0
        while done < given.kills:
            out = folder / f"killed-{done}.zarr"
            done += max(run_killed(job, out, given.kills - done, chance), 1)
            check_equal(out, folder / "quiet.zarr")
            print(f"killed {done} times: equal")
        began = time.monotonic()
        starts = run_on_cluster(job, folder / "cluster.zarr", given.every, given.schedulers)
        check_equal(folder / "cluster.zarr", folder / "quiet.zarr")
        print(f"cluster: equal after {starts} starts, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
