"""The processes of the job service as a supervisor runs them: found by what they do, killed, started again."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipeline.jobs.job import ACTIVE
from pipeline.jobs.store import JobStore
from tests.commands import COMMAND
from tests.job_service import path_of_plugin
from tests.mailbox import find_port
from tests.servers import Address

# What is killed how often, of so many: "web" watches those who answer and the keeper, which starts runners.
WEIGHTS = {"web": 2, "answering": 2, "keeper": 2, "runner": 6}
CLUSTER_WEIGHTS = {"scheduler": 2, "worker": 3}
WORKERS = ("worker-1", "worker-2")
THERE_SECONDS = 12.0  # for a process to come up that can be killed
RUN_SECONDS = 3.0  # of a runner that is killed in the midst of a job
IN_JOBS = 0.7  # of the kills of runners; the others also fall into a start
LEAVE_SECONDS = 40.0  # for processes whose parent was killed to notice that, and to leave


@dataclass
class ChaosService:
    """``voxelforest serve``, and with `cluster` a scheduler and two workers.

    Parameters
    ----------
    folder : Path
        For what the processes print.
    variables : mapping
        Their settings.
    cluster : bool
        Whether jobs run on a scheduler of their own.
    random : random.Random
    """

    folder: Path
    variables: Mapping[str, str]
    cluster: bool
    random: random.Random
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    starts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.port = find_port()
        self.scheduler = f"tcp://127.0.0.1:{find_port()}"

    @property
    def front(self) -> Address:
        """Where the server answers, when it does."""
        return Address(f"http://127.0.0.1:{self.port}")

    def start_all(self) -> None:
        """Start everything."""
        for name in (*(("scheduler", *WORKERS) if self.cluster else ()), "web"):
            self._start(name)

    def revive(self) -> None:
        """Start again what has ended, as a supervisor does."""
        for name in [name for name, process in self.processes.items() if process.poll() is not None]:
            self._start(name)

    def kill_one(self, kind: str | None = None) -> str | None:
        """Kill a process with SIGKILL, of a kind that is drawn where none is named; None if none of it came up."""
        if kind is None:
            weights = {**WEIGHTS, **(CLUSTER_WEIGHTS if self.cluster else {})}
            (kind,) = self.random.choices(list(weights), list(weights.values()))
        found = self._wait_for(kind)
        if kind == "runner" and found:
            found = self._wait_for_work(found)
        if not found:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            self.random.choice(found).kill()
            self.kills[kind] += 1
        return kind

    def find(self, kind: str) -> list[psutil.Process]:
        """The processes that do a thing now."""
        if kind in ("web", "scheduler", "worker"):
            names = WORKERS if kind == "worker" else (kind,)
            running = [process for name in names if (process := self.processes[name]).poll() is None]
            return [psutil.Process(process.pid) for process in running]
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.processes["web"].pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if _kind_of(child.cmdline()) == kind:
                        found.append(child)
        return found

    def stop(self) -> None:
        """Kill what was started here. The others have lost who started them, and have to leave by themselves."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        gone, left = psutil.wait_procs(self._orphans(), LEAVE_SECONDS)
        for process in left:
            process.kill()
        assert left == [], f"{len(gone)} processes left by themselves, {left} did not"

    def _start(self, name: str) -> None:
        port = self.scheduler.rpartition(":")[2]
        commands = {
            "web": [COMMAND, "serve", "--port", str(self.port), *(("--scheduler", self.scheduler) * self.cluster)],
            "scheduler": [*DASK, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"],
        }
        worker = [*DASK, "worker", self.scheduler, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                commands.get(name, worker),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.variables, "PYTHONPATH": path_of_plugin()},
                cwd=self.folder,
            )
        self.starts[name.partition("-")[0]] += 1

    def _wait_for(self, kind: str) -> list[psutil.Process]:
        until = time.monotonic() + THERE_SECONDS
        while not (found := self.find(kind)) and time.monotonic() < until:
            time.sleep(0.05)
            self.revive()
        return found

    def _wait_for_work(self, found: list[psutil.Process]) -> list[psutil.Process]:
        """The runners a moment later, most often in the midst of a job."""
        until = time.monotonic() + THERE_SECONDS
        if self.random.random() < IN_JOBS:
            while not JobStore().list(ACTIVE) and time.monotonic() < until:
                time.sleep(0.05)
        time.sleep(self.random.uniform(0.0, RUN_SECONDS))
        return self.find("runner") or found

    def _orphans(self) -> list[psutil.Process]:
        """Processes of this service, whoever is their parent."""
        place, found = self.variables["VOXELFOREST_DATA_DIR"], []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("VOXELFOREST_DATA_DIR") == place and process.pid != os.getpid():
                    found.append(process)
        return found


DASK = (sys.executable, "-m", "dask")


def _kind_of(command: list[str]) -> str | None:
    """What a process below the first one does."""
    if "pipeline.jobs" not in command:
        return "answering"
    if "check" in command:
        return None
    return "runner" if "--once" in command else "keeper"
