"""Stand-ins for a cluster: a real scheduler, and real workers of Dask by the hundred in one process.

``python -m benchmarks.standins scheduler`` and ``python -m benchmarks.standins workers ADDRESS N``. Each worker has its
own connections, state machine and heartbeat; only its task is a coroutine that sleeps, so one process holds as many as
one likes. Both print a line when they are ready, and end when their standard input is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import dask
import psutil
from distributed import Scheduler, Worker

PATIENCE = 300.0  # seconds that a hundred workers may take to start on a busy machine
# What a worker looks after for its machine is turned down: a hundred share this one.
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.low-level-log-length": 0,
    "distributed.admin.system-monitor.interval": "30s",
}


@dataclass(frozen=True)
class StandIn:
    """A process of stand-ins.

    Parameters
    ----------
    process : psutil.Popen
    said : str
        The line that it printed.
    """

    process: psutil.Popen
    said: str

    def cpu_seconds(self) -> float:
        """Time of a core that it has taken so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def resident_bytes(self) -> int:
        """Its memory."""
        return int(self.process.memory_info().rss)


@dataclass(frozen=True)
class StandInCluster:
    """A scheduler and its workers, a process each.

    Parameters
    ----------
    address : str
        Of the scheduler.
    scheduler, workers : StandIn
    n_workers : int
    """

    address: str
    scheduler: StandIn
    workers: StandIn
    n_workers: int


@contextlib.contextmanager
def stand_in_cluster(n_workers: int) -> Iterator[StandInCluster]:
    """A real scheduler with so many stand-ins of one thread, on loopback, as long as the context lasts."""
    with contextlib.ExitStack() as stack:
        scheduler = stack.enter_context(_process("scheduler"))
        workers = stack.enter_context(_process("workers", scheduler.said, str(n_workers)))
        yield StandInCluster(scheduler.said, scheduler, workers, n_workers)


@contextlib.contextmanager
def _process(*arguments: str) -> Iterator[StandIn]:
    command = [sys.executable, "-m", "benchmarks.standins", *arguments]
    process = psutil.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline().strip()
        if not said:
            raise RuntimeError(f"{' '.join(arguments)}: ended with {process.wait()}")
        yield StandIn(process, said)
    finally:
        process.stdin.close()
        try:
            process.wait(30)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


async def _schedule() -> None:
    async with Scheduler(
        protocol="tcp", host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0"
    ) as scheduler:
        await _serve(scheduler.address)


async def _work(address: str, number: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        workers = [
            Worker(address, nthreads=1, memory_limit=0, host="127.0.0.1", dashboard=False, dashboard_address=None)
            for _ in range(number)
        ]
        for worker in workers:
            await asyncio.wait_for(stack.enter_async_context(worker), PATIENCE)
        await _serve(f"{number} workers")


async def _serve(said: str) -> None:
    """Say that all is ready, then wait for the end of standard input."""
    print(said, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Be a scheduler or a process of workers."""
    role, *rest = sys.argv[1:]
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with dask.config.set(QUIET):
        asyncio.run(_schedule() if role == "scheduler" else _work(rest[0], int(rest[1])))


if __name__ == "__main__":
    main()
