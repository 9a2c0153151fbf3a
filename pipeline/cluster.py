"""Where block tasks run: threads of this process, processes of this machine, or a scheduler somebody else started.

Whatever the place, a caller gets a Dask client and nothing listens beyond the loopback interface.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from typing import Any

from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, Scheduler, Security, SpecCluster, Worker, rpc
from distributed.versions import VersionMismatchWarning

from pipeline.config import settings
from pipeline.errors import ClusterError, PlanError
from pipeline.suggestion import did_you_mean

LOCAL_NAMES = ("threads", "local")
REMOTE_SCHEMES = ("tcp://", "tls://")
# The HTTP pages of scheduler and worker cannot be switched off; unless told otherwise they listen on every interface.
LOOPBACK = "127.0.0.1:0"
# What must be the same everywhere: these decide results to the bit, or how tasks are written down for the wire.
MUST_MATCH = ("voxelforest", "numpy", "numba", "dask", "distributed")


def check_scheduler(scheduler: str) -> str:
    """`scheduler` itself, if it names one that `connect` knows.

    Raises
    ------
    PlanError
        With the code ``scheduler``, listing what there is.
    """
    if scheduler in LOCAL_NAMES or scheduler.startswith(REMOTE_SCHEMES):
        return scheduler
    raise PlanError(
        f"There is no scheduler {scheduler!r}: choose threads, local, or the address of one as tcp://host:port"
        f"{did_you_mean(scheduler, LOCAL_NAMES)}",
        code="scheduler",
    )


@contextlib.contextmanager
def connect(scheduler: str = "threads", workers: int | None = None) -> Iterator[Client]:
    """A Dask client, and for the local kinds the cluster behind it, both closed at the end.

    Parameters
    ----------
    scheduler : str
        ``threads``: one worker inside this process. ``local``: single-threaded processes on this machine, restarted
        when they die. ``tcp://host:port`` or ``tls://host:port``: a running scheduler; certificates come from Dask's
        own configuration.
    workers : int, optional
        Threads or processes; the cores this process may use by default. For a running scheduler, how many workers to
        wait for; one by default.

    Raises
    ------
    PlanError
        If there is no such kind of scheduler.
    ClusterError
        If the scheduler does not answer, has too few workers, or runs other versions of what decides results.
    """
    check_scheduler(scheduler)
    if workers is not None and workers < 1:
        raise PlanError(f"{workers} workers were asked for; at least 1 is needed.", code="workers")
    with _quiet_logs(), contextlib.ExitStack() as stack:
        if scheduler == "threads":
            client = stack.enter_context(_local_client(stack.enter_context(_thread_cluster(workers or CPU_COUNT))))
        elif scheduler == "local":
            with _interrupts_wait():
                cluster = stack.enter_context(_process_cluster(workers or CPU_COUNT))
            client = stack.enter_context(_local_client(cluster))
        else:
            client = stack.enter_context(_remote_client(scheduler))
            _wait_for_workers(client, scheduler, workers or 1)
            _check_versions(client, scheduler)
        yield client


def count_threads(client: Client) -> int:
    """Threads of all workers that are connected now."""
    return sum(client.nthreads().values())


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Keep Dask's own log off the terminal: what matters comes back as an exception."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _thread_cluster(threads: int) -> SpecCluster:
    common = {"dashboard": False, "dashboard_address": LOOPBACK}
    # No memory limit: Dask would spill or pause by what the whole process holds, while the plan bounds each task.
    worker = {"protocol": "inproc", "nthreads": threads, "memory_limit": 0, **common}
    return SpecCluster(
        scheduler={"cls": Scheduler, "options": {"protocol": "inproc", "host": None, **common}},
        workers={0: {"cls": Worker, "options": worker}},
        silence_logs=logging.CRITICAL,
    )


def _process_cluster(processes: int) -> LocalCluster:
    return LocalCluster(
        n_workers=processes,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=LOOPBACK,
        scheduler_kwargs={"dashboard": False},
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )


def _local_client(cluster: SpecCluster) -> Client:
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


def _remote_client(address: str) -> Client:
    # Asked beforehand, since a Client that fails to connect leaves its thread behind, and Dask's clean-up of that at
    # some later garbage collection can block any other loop. In a thread, because a notebook's own loop runs in ours.
    with ThreadPoolExecutor(1) as thread:
        try:
            thread.submit(asyncio.run, _ask_identity(address)).result()
        except (OSError, ValueError, TypeError, RuntimeError) as error:  # TypeError: tls:// without certificates
            first_line = str(error).strip().split("\n")[0] or f"no answer in {settings().connect_seconds:g} s"
            raise ClusterError(f"No Dask scheduler can be used at {address}: {first_line}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)  # versions are compared below, in our own words
        return Client(address, timeout=settings().connect_seconds, set_as_default=False)


async def _ask_identity(address: str) -> None:
    arguments = Security().get_connection_args("client")
    async with asyncio.timeout(settings().connect_seconds), rpc(address, connection_args=arguments) as scheduler:
        await scheduler.identity()


def _wait_for_workers(client: Client, address: str, wanted: int) -> None:
    try:
        client.wait_for_workers(wanted, timeout=settings().connect_seconds)
    except TimeoutError:
        found = len(client.nthreads())
        raise ClusterError(
            f"The scheduler at {address} has {found} of {wanted} workers after {settings().connect_seconds:g} s. "
            f"Start one with: dask worker {address}"
        ) from None


def _check_versions(client: Client, address: str) -> None:
    found = version_differences(client.get_versions(packages=list(MUST_MATCH)))
    if found:
        raise ClusterError(
            f"The workers of {address} run other versions, so their results could differ: {'; '.join(found)}. "
            "Install the same set on both sides (constraints.txt).",
            code="versions",
        )


def version_differences(versions: Mapping[str, Any]) -> list[str]:
    """What workers have in another version than this process, a phrase for each package.

    Parameters
    ----------
    versions : mapping
        As `distributed.Client.get_versions` returns it, asked for the packages of `MUST_MATCH`.
    """
    here = _exact(versions["client"])
    found: dict[str, set[str]] = {}
    for worker in versions["workers"].values():
        for name, version in _exact(worker).items():
            if version != here[name]:
                found.setdefault(name, set()).add(version)
    return [f"{name} {', '.join(sorted(there))} there, {here[name]} here" for name, there in found.items()]


def _exact(side: Mapping[str, Any]) -> dict[str, str]:
    packages = side["packages"]
    exact = {name: packages.get(name) or "missing" for name in MUST_MATCH}
    return {"Python": ".".join(packages["python"].split(".")[:2]), **exact}
