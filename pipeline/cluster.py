"""Where block tasks run: threads of this process, processes of this machine, a running scheduler, or EC2.

Whatever the place, a caller gets a Dask client. What is started on this machine listens on the loopback interface
alone; what is started elsewhere speaks TLS.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from dask.system import CPU_COUNT
from distributed import Client

from pipeline.clusters.counters import count_on
from pipeline.clusters.local import dashboard_of, local_client, process_cluster, thread_cluster
from pipeline.clusters.logs import check_logfile, fetch_logs, write_logs
from pipeline.clusters.performance import check_report, reported
from pipeline.clusters.remote import remote_client, wait_for_workers
from pipeline.clusters.terms import Terms
from pipeline.clusters.versions import check_versions
from pipeline.clusters.workers import JOBS, Workers, as_workers
from pipeline.config import settings
from pipeline.errors import PlanError
from pipeline.suggestion import did_you_mean

if TYPE_CHECKING:
    from distributed import SpecCluster

LOCAL_NAMES = ("threads", "local")
EC2 = "ec2"
NAMES = (*LOCAL_NAMES, EC2)
REMOTE_SCHEMES = ("tcp://", "tls://")
# Threads that a cluster which grows with its work may come to have; work is submitted ahead for these.
_to_come: WeakKeyDictionary[Client, int] = WeakKeyDictionary()


def check_scheduler(scheduler: str) -> str:
    """`scheduler` itself, if it names one that `connect` knows.

    Raises
    ------
    PlanError
        With the code ``scheduler``, listing what there is.
    """
    if scheduler in NAMES or scheduler.startswith(REMOTE_SCHEMES):
        return scheduler
    raise PlanError(
        f"There is no scheduler {scheduler!r}: choose threads, local, ec2, or the address of one as tcp://host:port"
        f"{did_you_mean(scheduler, NAMES)}",
        code="scheduler",
    )


def check_place(scheduler: str, places: Iterable[str]) -> None:
    """See that the workers can reach what is read and written.

    Parameters
    ----------
    scheduler : str
    places : iterable of str
        Paths and URLs.

    Raises
    ------
    PlanError
        With the code ``place``, if machines of EC2 were to read or write files of this one.
    """
    for place in places if scheduler == EC2 else ():
        if "://" not in place or place.startswith("file://"):
            raise PlanError(
                f"Workers on EC2 cannot reach {place}: it lies on this machine. Copy inputs to a bucket, and let the "
                "output be s3://bucket/name.zarr.",
                code="place",
            )


@contextlib.contextmanager
def connect(
    scheduler: str = "threads", workers: int | Workers | None = None, terms: Terms | None = None
) -> Iterator[Client]:
    """A Dask client, and the cluster behind it where one is made for it, both closed at the end.

    Parameters
    ----------
    scheduler : str
        ``threads``: one worker inside this process. ``local``: single-threaded processes on this machine, restarted
        when they die. ``tcp://host:port`` or ``tls://host:port``: a running scheduler; certificates come from the
        settings, or Dask's own configuration. ``ec2``: machines that are rented for as long as this lasts.
    workers : int or Workers, optional
        Threads, processes or machines; the cores this process may use by default, on EC2 none to twenty. Between two
        bounds the number follows the work. For a running scheduler, how many to wait for; one by default.
    terms : Terms, optional
        What may be spent, and who is told.

    Raises
    ------
    PlanError
        If there is no such kind of scheduler, or the number of workers is not possible.
    ClusterError
        If the scheduler does not answer, has too few workers, or runs other versions of what decides results.
    MissingExtraError
        If EC2 was asked for, and the package that speaks to it is not installed.
    """
    check_scheduler(scheduler)
    terms = terms or Terms()
    if terms.max_cost is not None and scheduler != EC2:
        raise PlanError(f"--max-cost bounds what ec2 costs; {scheduler} is not paid from here", code="max_cost")
    if terms.logfile is not None:
        check_logfile(terms.logfile)
    if terms.report is not None:
        check_report(terms.report)
    with _quiet_logs(), contextlib.ExitStack() as stack:
        client = stack.enter_context(_connect(scheduler, workers, terms))
        if terms.report is not None:
            stack.enter_context(reported(client, terms.report, terms.tell))
        yield client


def count_threads(client: Client) -> int:
    """Threads of all workers that are connected now."""
    return sum(client.nthreads().values())


def expected_threads(client: Client) -> int:
    """Threads to submit work for: those that are connected, or those that a growing cluster may come to have."""
    return max(count_threads(client), _to_come.get(client, 1))


@contextlib.contextmanager
def _connect(scheduler: str, workers: int | Workers | None, terms: Terms) -> Iterator[Client]:
    if scheduler == EC2:
        from pipeline.ec2.session import rented_client

        wanted = as_workers(workers, 1) if workers is not None else JOBS
        with rented_client(wanted, terms) as (client, threads):
            _to_come[client] = wanted.maximum * threads
            count_on(client)
            yield client
        return
    with contextlib.ExitStack() as stack:
        if scheduler in LOCAL_NAMES:
            client = stack.enter_context(_own_client(scheduler, as_workers(workers, CPU_COUNT), terms))
        else:
            wanted = as_workers(workers, 1)
            client = stack.enter_context(remote_client(scheduler))
            if wanted.minimum:
                wait_for_workers(client, scheduler, wanted.minimum)
            check_versions(client, scheduler)
            count_on(client)
            _to_come[client] = wanted.maximum
        try:
            yield client
        finally:
            if terms.logfile is not None:
                write_logs(terms.logfile, fetch_logs(client))


@contextlib.contextmanager
def _own_client(scheduler: str, workers: Workers, terms: Terms) -> Iterator[Client]:
    if scheduler == "threads" and not workers.fixed:
        raise PlanError(f"{workers} threads: threads take one number, local takes bounds", code="workers")
    cluster: SpecCluster
    in_process = scheduler == "threads"
    cluster = thread_cluster(workers.maximum) if in_process else process_cluster(workers, terms.task_bytes)
    with cluster, local_client(cluster) as client:
        _to_come[client] = workers.maximum
        if settings().dashboard_port is not None:
            terms.tell(f"Dask's dashboard is at {dashboard_of(cluster)}")
            count_on(client)
        yield client


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
