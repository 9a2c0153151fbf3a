"""A Dask cluster as processes of its own: a scheduler, and workers below nannies, any of which may be killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType

import psutil
from distributed import Client

from tests.chaos.job import ENVIRONMENT

LOOPBACK = ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")
WORKER = ("--nworkers", "1", "--nthreads", "1", "--memory-limit", "2GiB", "--death-timeout", "60")
START_SECONDS = 60.0


class Cluster:
    """A scheduler and so many single-threaded workers, each below its nanny; a context that ends all of them.

    Parameters
    ----------
    folder : Path
        For their logs and Dask's own files.
    workers : int
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self._names = ["scheduler", *(f"nanny-{number}" for number in range(workers))]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()  # one thread kills, another starts what has ended
        self.started: Counter[str] = Counter()

    def __enter__(self) -> Cluster:
        self._folder.mkdir(exist_ok=True)
        self.revive()
        self.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        everything = [child for process in self._processes.values() for child in _family(process)]
        for process in everything:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self._processes.values():
            started.wait()

    def revive(self) -> None:
        """Start what has ended, as a service manager does; workers are started by their nannies."""
        with self._lock:
            for name in self._names:
                if name not in self._processes or self._processes[name].poll() is not None:
                    self._start(name)

    def wait(self) -> None:
        """Until all workers are connected."""
        with Client(self.address, timeout=START_SECONDS, set_as_default=False) as client:
            client.wait_for_workers(len(self._names) - 1, timeout=START_SECONDS)

    def workers(self) -> list[psutil.Process]:
        """The processes below nannies that are connected to the scheduler; one that still starts is no worker yet."""
        port, found = int(self.address.rpartition(":")[2]), []
        for name, process in self._processes.items():
            if name != "scheduler":
                with contextlib.suppress(psutil.NoSuchProcess):
                    children = psutil.Process(process.pid).children()
                    found += [child for child in children if _is_connected(child, port)]
        return found

    def kill_worker(self, chance: random.Random) -> bool:
        """SIGKILL one of the workers; false if there was none."""
        workers = self.workers()
        if not workers:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            chance.choice(workers).kill()
            return True
        return False

    def kill_scheduler(self) -> None:
        """SIGKILL the scheduler, and start it anew at the same address."""
        with self._lock:
            self._processes["scheduler"].kill()
            self._processes["scheduler"].wait()
            self._start("scheduler")

    def stop_worker(self, chance: random.Random, seconds: float) -> None:
        """SIGSTOP one of the workers for so long."""
        while not (workers := self.workers()):
            time.sleep(0.1)
        worker = chance.choice(workers)
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.send_signal(signal.SIGSTOP)
            time.sleep(seconds)
            worker.send_signal(signal.SIGCONT)

    def _start(self, name: str) -> None:
        what = ["worker", self.address, *WORKER, "--local-directory", str(self._folder)]
        if name == "scheduler":
            what = ["scheduler", "--port", self.address.rpartition(":")[2]]
        with (self._folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", "dask", *what, *LOOPBACK]
            self._processes[name] = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env={**os.environ, **ENVIRONMENT},
                start_new_session=True,  # Ctrl-C ends them by way of us
            )
        self.started[name.partition("-")[0]] += 1


def _is_connected(process: psutil.Process, port: int) -> bool:
    with contextlib.suppress(psutil.Error):
        connections = process.net_connections(kind="tcp")
        return any(found.status == psutil.CONN_ESTABLISHED and found.raddr.port == port for found in connections)
    return False


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A process and all that it has started; empty if it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        return [*parent.children(recursive=True), parent]
    return []
