"""Workers on this machine: threads of this process, or processes that are restarted when they die."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Any

import dask
from distributed import Client, LocalCluster, Scheduler, SpecCluster, Worker

from pipeline.clusters.workers import Workers
from pipeline.config import settings

# The HTTP pages of scheduler and worker cannot be switched off; unless told otherwise they listen on every interface.
LOOPBACK = "127.0.0.1:0"
# Dask looks at the stacks of all threads every 10 ms. In Python 3.11 that can lock up a process in which threads begin
# and end meanwhile (gh-106883): seen once, after a thousand blocks whose files had a thread each.
NO_PROFILE = {"distributed.worker.profile.enabled": False}
# What a process holds beside its blocks: imports and compiled kernels, 350 MiB at most, and what the allocator keeps.
PROCESS_BYTES = 1 << 30
TASK_FACTOR = 2  # a plan's bytes of a task are an upper bound; a process is ended only when it takes twice as much


def memory_limit(threads: int, task_bytes: int | None) -> int:
    """Memory from which on a process that computes blocks is taken for broken and started anew, bytes."""
    return PROCESS_BYTES + threads * TASK_FACTOR * (task_bytes or int(settings().task_memory))


def thread_cluster(threads: int) -> SpecCluster:
    """One worker with so many threads inside this process; nothing listens."""
    common = {"dashboard": False, "dashboard_address": LOOPBACK}
    shown = _dashboard()
    # No memory limit: Dask would spill or pause by what the whole process holds, while the plan bounds each task.
    worker = {"protocol": "inproc", "nthreads": threads, "memory_limit": 0, **common}
    with dask.config.set(NO_PROFILE):
        return SpecCluster(
            scheduler={"cls": Scheduler, "options": {"protocol": "inproc", "host": None, **shown}},
            workers={0: {"cls": Worker, "options": worker}},
            silence_logs=logging.CRITICAL,
        )


def process_cluster(workers: Workers, task_bytes: int | None = None) -> LocalCluster:
    """Single-threaded processes; they listen on loopback alone."""
    with _interrupts_wait(), dask.config.set(NO_PROFILE):
        cluster = LocalCluster(
            n_workers=workers.minimum,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=LOOPBACK,
            scheduler_kwargs=_dashboard(),
            memory_limit=memory_limit(1, task_bytes),
            silence_logs=logging.CRITICAL,
        )
        if not workers.fixed:
            cluster.adapt(minimum=workers.minimum, maximum=workers.maximum, interval=settings().scaling_seconds)
    return cluster


def dashboard_of(cluster: SpecCluster) -> str:
    """Where a cluster of this machine shows Dask's dashboard."""
    return f"http://127.0.0.1:{cluster.scheduler.http_server.port}/status"


def _dashboard() -> dict[str, Any]:
    """What a scheduler shows, and where."""
    port = settings().dashboard_port
    return {"dashboard": port is not None, "dashboard_address": LOOPBACK if port is None else f"127.0.0.1:{port}"}


def local_client(cluster: SpecCluster) -> Client:
    """A client of a cluster of this machine."""
    # Not the default client: a lazy array computed meanwhile stays where its owner wants it.
    return Client(cluster, set_as_default=False)


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Keep Ctrl-C for later, here until the block ends, and for good in the threads and processes that begin in it.

    A terminal sends Ctrl-C to every process of the group; only the one with the client is to act on it.
    """
    resource_tracker.ensure_running()  # its start would end the wait in the thread that starts it, in older Pythons
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
