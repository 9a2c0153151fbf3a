"""The job service while its processes are killed at random: what ends, ends once, with the right bytes or a reason.

::

    python -m tests.jobs_chaos --kills 200           # threads: runners and their keeper
    python -m tests.jobs_chaos --kills 200 --cluster  # a scheduler and two workers are killed too

Jobs are submitted all along; the archive fails now and then. In the end the tables are looked at with SQL.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from pipeline.config import settings
from pipeline.errors import TransientArchiveError
from pipeline.jobs.form import parse_request
from pipeline.jobs.job import ACTIVE, DONE, FAILED, QUEUED, Job
from pipeline.jobs.store import JobStore
from pipeline.volume import open_raw
from tests.archive_contents import Archive
from tests.archive_server import serving
from tests.job_service import (
    FIELDS,
    PLUGIN,
    TOKEN,
    environment,
    make_archive,
    make_values,
    path_of_plugin,
    start_runner,
)

PAUSE = "0.05"  # seconds that a block rests, so that kills fall into the midst of jobs
LIMITS = {"JOB_LEASE_SECONDS": 2, "JOB_ATTEMPTS": 20, "JOB_CONCURRENCY": 2, "CONNECT_SECONDS": 3, "CANCEL_SECONDS": 2}
END_SECONDS = 240.0
RUNNER_SECONDS = 20.0  # for a runner to be there that can be killed
RUN_SECONDS = 3.0  # of a runner


@dataclass
class Chaos:
    """A service that is being shot at.

    Parameters
    ----------
    folder : Path
    archive : Archive
    cluster : bool
        Whether jobs run on a scheduler of their own.
    seed : int
    """

    folder: Path
    archive: Archive
    cluster: bool
    seed: int
    variables: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.variables = environment(self.folder, self.archive, **LIMITS)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"

    def start(self, name: str) -> None:
        """Start a process, in place of one that was killed."""
        if name == "keeper":
            place = ("--scheduler", self.address) if self.cluster else ()
            self.processes[name] = start_runner(self.folder, self.variables, *place)
            return
        what = ["scheduler", "--host", "127.0.0.1", "--port", self.address.rpartition(":")[2], "--no-dashboard"]
        if name != "scheduler":
            what = ["worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "dask", *what],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.variables, "PYTHONPATH": path_of_plugin()},
                cwd=self.folder,
            )

    def start_all(self) -> None:
        """Start everything."""
        for name in (["scheduler", "worker-1", "worker-2"] if self.cluster else []) + ["keeper"]:
            self.start(name)

    def revive(self) -> None:
        """Start what has ended by itself, as a worker does that lost its scheduler."""
        for name in [name for name, process in self.processes.items() if process.poll() is not None]:
            self.start(name)

    def kill_one(self) -> str | None:
        """Kill a process of the service with SIGKILL; None if a runner was wanted and none came to be."""
        cluster = [name for name in self.processes if name != "keeper"]
        name = self.random.choice([*cluster, *["runner"] * 5, "keeper"])
        if name == "runner":
            until = time.monotonic() + RUNNER_SECONDS
            while not (runners := self.runners()) and time.monotonic() < until:
                time.sleep(0.05)
            if not runners:
                return None
            begun = self.random.random() < 0.7  # most kills fall into the midst of a job, the others also into a start
            while begun and not JobStore().list(ACTIVE) and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(self.random.uniform(0.0, RUN_SECONDS))
            runners = self.runners() or runners
            with contextlib.suppress(psutil.NoSuchProcess):
                self.random.choice(runners).kill()
        else:
            self.processes[name].kill()
            self.processes[name].wait()
            self.start(name)
        self.kills[name.partition("-")[0]] += 1
        return name

    def runners(self) -> list[psutil.Process]:
        """Processes that compute a job now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.processes["keeper"].pid).children()
            return [child for child in children if "--once" in child.cmdline()]
        return []

    def stop(self) -> None:
        """End all processes, and those that they have started."""
        for process in self.processes.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
            process.kill()
            process.wait()


def submit(store: JobStore, number: int) -> Job:
    """Ask for another job, or for one that was asked for before."""
    job, _ = store.create(parse_request({**FIELDS, "threshold": str(number % 256), "pause": PAUSE}))
    return job


def check_results(store: JobStore, archive: Archive) -> Counter[str]:
    """Every job has ended, done with the right bytes here and in the archive, or failed with a reason."""
    states: Counter[str] = Counter()
    for job in store.list(limit=10_000):
        states[job.state] += 1
        assert job.finished, f"{job.id} is {job.state}"
        if job.state == DONE:
            expected = np.where(make_values() >= job.request.parameters["threshold"], 255, 0).astype(np.uint8)
            volume = open_raw(job.folder / job.results["volumes"]["All"])
            np.testing.assert_array_equal(volume.read(volume.whole)[0, 0], expected)
            for channel in job.results["pushed"]:
                np.testing.assert_array_equal(archive.places["out", "results"].channels[channel].data, expected)
        else:
            assert job.state == FAILED
            assert job.reason
    return states


def check_tables(store: JobStore) -> None:
    """What must hold of the rows, whatever was killed."""
    bad = {
        "a step that is not allowed": """
            SELECT count(*) FROM (
                SELECT json_extract(document, '$.state') AS after, lag(json_extract(document, '$.state'))
                OVER (PARTITION BY job ORDER BY number) AS before FROM events WHERE kind = 'state') AS steps
            WHERE before IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM transitions AS t WHERE t.before = steps.before AND t.after = steps.after)""",
        "a job that does not begin queued": """
            SELECT count(*) FROM (SELECT job, min(number) AS first FROM events WHERE kind = 'state' GROUP BY job) AS f
            JOIN events ON events.number = f.first WHERE json_extract(document, '$.state') <> 'queued'""",
        "a job whose last event is not its state": """
            SELECT count(*) FROM jobs JOIN events ON events.number = jobs.event
            WHERE json_extract(document, '$.state') <> jobs.state""",
        "more outcomes than runs": """
            SELECT count(*) FROM jobs WHERE runs < (SELECT count(*) FROM events WHERE job = jobs.id AND kind = 'state'
            AND json_extract(document, '$.state') IN ('done', 'failed', 'cancelled'))""",
        "a job that was computed to the end more than once": """
            SELECT count(*) FROM jobs WHERE runs < (SELECT count(*) FROM events WHERE job = jobs.id
            AND kind = 'computed' AND NOT json_extract(document, '$.reused'))""",
        "a token that was not erased": "SELECT count(*) FROM jobs WHERE secret IS NOT NULL",
        "an outcome that somebody is not told of": """
            SELECT count(*) FROM jobs JOIN people ON people.job = jobs.id WHERE state IN ('done', 'failed')
            AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.job = jobs.id AND recipient = address)""",
        "a person who is told twice of one outcome": """
            SELECT count(*) FROM (SELECT 1 FROM outbox GROUP BY job, event, recipient HAVING count(*) > 1)""",
    }
    with store.connect() as connection:
        found = {what: connection.execute(query).fetchone()[0] for what, query in bad.items()}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert {what: count for what, count in found.items() if count} == {}


def find_token(folder: Path) -> list[str]:
    """Files that hold the token."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [str(path.relative_to(folder)) for path in files if TOKEN.encode() in path.read_bytes()]


def shown_token() -> list[str]:
    """Command lines of all processes that hold the token."""
    lines = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return [line for line in lines if TOKEN in line]


def run_chaos(folder: Path, archive: Archive, kills: int, *, cluster: bool = False, seed: int = 0) -> Chaos:
    """Kill so often, then wait until all jobs have ended, and check what became of them."""
    chaos, store, shown = Chaos(folder, archive, cluster, seed), JobStore(), []
    submit(store, 0)
    chaos.start_all()
    try:
        number = 0
        while chaos.kills.total() < kills:
            time.sleep(chaos.random.uniform(0.0, 1.0))
            if len(store.list((QUEUED,))) < 2:
                with contextlib.suppress(TransientArchiveError):  # nothing is created then
                    submit(store, number + 1)
                    number += 1
            if chaos.random.random() < 0.2:
                archive.fail(chaos.random.choice(["500", "503", "drop"]), "/cutout/", times=chaos.random.randint(1, 4))
            chaos.revive()
            chaos.kill_one()
            shown += shown_token()
            if chaos.kills.total() % 20 == 0:
                print(f"{chaos.kills.total()} of {kills}", flush=True)
        until = time.monotonic() + END_SECONDS
        while not all(job.finished for job in store.list(limit=10_000)):
            assert time.monotonic() < until, [
                (job.id, job.state, job.reason) for job in store.list() if not job.finished
            ]
            chaos.revive()
            time.sleep(0.2)
    finally:
        chaos.stop()
    states = check_results(store, archive)
    check_tables(store)
    assert shown == []
    assert find_token(folder) == []
    print(f"{chaos.kills.total()} kills ({dict(chaos.kills)}), jobs: {dict(states)}", flush=True)
    return chaos


@contextlib.contextmanager
def surroundings(folder: Path) -> Iterator[Archive]:
    """An archive, and settings of this process that lead there."""
    with serving(make_archive()) as archive:
        os.environ.update(environment(folder, archive, **LIMITS))
        sys.path.insert(0, str(PLUGIN))
        settings.cache_clear()
        yield archive


def main() -> None:
    """Kill as often as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="jobs-chaos-"))
    print(f"seed {given.seed}, in {folder}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with surroundings(folder) as archive:
        run_chaos(folder, archive, given.kills, cluster=given.cluster, seed=given.seed)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
