"""One cluster from its first machine to its last: started in order, taken down in every case, and billed."""

from __future__ import annotations

import contextlib
import datetime
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from distributed import Client

from pipeline.clusters.certificates import Certificates, make_certificates
from pipeline.clusters.logs import fetch_logs, write_logs
from pipeline.clusters.remote import remote_client
from pipeline.clusters.terms import Tell, Terms
from pipeline.clusters.versions import check_versions
from pipeline.ec2.account import Account
from pipeline.ec2.background import Background
from pipeline.ec2.configuration import DASHBOARD_PORT, SCHEDULER_PORT, Configuration
from pipeline.ec2.cost import Offer, readable_seconds
from pipeline.ec2.inspection import Site
from pipeline.ec2.machine_cluster import MachineCluster
from pipeline.ec2.network import make_group
from pipeline.ec2.sweep import end_cluster, sweep_groups
from pipeline.ec2.tags import make_tags, new_cluster_id
from pipeline.ec2.upkeep import Upkeep
from pipeline.errors import ClusterError, PipelineError

CLOSE_SECONDS = 10.0
CALM, WARY = 1.0, 5.0  # seconds between two looks for machines that are left, where one was just being made the latter
POLL_SECONDS = 0.5


@dataclass(frozen=True, eq=False)
class Rented:
    """A cluster that is up.

    Parameters
    ----------
    id : str
    address : str
        Of the scheduler, for clients.
    certificates : Certificates
    client : Client
    offer : Offer
    upkeep : Upkeep
        Knows why it has ended by itself, if it has.
    """

    id: str
    address: str
    certificates: Certificates
    client: Client
    offer: Offer
    upkeep: Upkeep


@contextlib.contextmanager
def tenancy(account: Account, configuration: Configuration, site: Site, offer: Offer, terms: Terms) -> Iterator[Rented]:
    """A cluster while the context lasts. Whatever happens in it, Ctrl-C included, no machine is left behind."""
    tenant = _Tenant(account, configuration, site, offer, terms)
    try:
        yield tenant.start()
    except Exception as error:
        if why := tenant.why_over():
            text = f"The cluster on EC2 has ended: {why}. What is written stays; the same command with --resume goes on"
            raise ClusterError(text, code="ec2") from error
        raise
    finally:
        with _deaf(terms.tell):
            tenant.stop()


class _Tenant:
    """The parts of a cluster, as far as they have been made."""

    def __init__(self, account: Account, configuration: Configuration, site: Site, offer: Offer, terms: Terms) -> None:
        self._account = account
        self._configuration = configuration
        self._site = site
        self._offer = offer
        self._terms = terms
        self._id = new_cluster_id()
        self._expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=offer.seconds)
        self._certificates = make_certificates(self._id, self._expires)
        self._background = Background()
        self._cluster: MachineCluster | None = None
        self._client: Client | None = None
        self._upkeep: Upkeep | None = None

    def start(self) -> Rented:
        """Scheduler first, whose versions are compared before workers cost anything."""
        tags = make_tags(self._id, self._configuration.owner, self._configuration.project, self._expires)
        group = self._configuration.security_group
        if group is None:
            ports = (SCHEDULER_PORT, *([DASHBOARD_PORT] if self._configuration.dashboard else []))
            group = make_group(self._account, self._id, self._site.subnet, self._site.client, tags, ports)
        self._background.start()
        self._terms.tell(f"ec2: starting the scheduler of cluster {self._id}, which takes some minutes")
        self._background.run(self._start_scheduler(group, tags))
        assert self._cluster is not None
        scheduler = self._cluster.scheduler
        address = scheduler.external_address or scheduler.address
        if self._configuration.dashboard:
            host = address.partition("://")[2].rpartition(":")[0]
            self._terms.tell(f"ec2: Dask's dashboard is at http://{host}:{DASHBOARD_PORT}/status")
        self._client = remote_client(address, self._certificates.client)
        check_versions(self._client, "EC2")
        upkeep = self._background.run(self._start_upkeep())
        if self._offer.workers.minimum:
            self._wait_for_worker(upkeep)
        return Rented(self._id, address, self._certificates, self._client, self._offer, upkeep)

    def why_over(self) -> str | None:
        """Why the cluster has ended by itself; looks at once, since an error may come before the next round."""
        if self._upkeep is None:
            return None
        with contextlib.suppress(Exception):
            self._background.run(self._upkeep.look(), CLOSE_SECONDS)
        return self._upkeep.ended

    def stop(self) -> None:
        """Take everything down, in order as far as that goes, and by tag in the end."""
        try:
            logs = self._take_down()
        finally:
            with contextlib.suppress(Exception):
                self._background.stop()
            wary = self._cluster is not None and self._cluster.in_the_making > 0
            end_cluster(self._account, self._id, self._terms.tell, calm=WARY if wary else CALM)
            sweep_groups(self._account, self._configuration.owner)  # of orphans that were still ending at the start
        if self._terms.logfile is not None:
            write_logs(self._terms.logfile, logs)
        if self._cluster is not None:
            self._terms.tell(self._bill(self._cluster))

    async def _start_scheduler(self, group: str, tags: dict[str, str]) -> None:
        self._cluster = MachineCluster(
            self._account, self._configuration, self._site, group, self._certificates, tags, self._expires
        )
        try:
            await self._cluster
        except RuntimeError as error:
            if isinstance(error.__cause__, PipelineError):
                raise error.__cause__ from error
            raise

    async def _start_upkeep(self) -> Upkeep:
        assert self._cluster is not None
        life = readable_seconds(self._offer.seconds)
        reason = f"its time, {life}, is over"
        if self._terms.max_cost is not None:
            reason = f"{reason}, which --max-cost {self._terms.max_cost:g} pays for"
        self._upkeep = Upkeep(self._cluster, self._offer.workers, self._expires, reason, self._terms.tell)
        self._background.begin(self._upkeep.run())
        return self._upkeep

    def _wait_for_worker(self, upkeep: Upkeep) -> None:
        assert self._client is not None
        assert self._cluster is not None
        self._terms.tell(f"ec2: the scheduler answers; waiting for the first of {self._offer.workers} workers")
        while not self._client.nthreads():
            if upkeep.ended is not None:
                raise ClusterError(f"The cluster on EC2 has ended: {upkeep.ended}", code="ec2")
            if self._cluster.trouble is not None and not self._cluster.workers:
                raise self._cluster.trouble
            time.sleep(POLL_SECONDS)

    def _take_down(self) -> dict[str, list[str]]:
        logs: dict[str, list[str]] = {}
        if self._client is not None:
            if self._client.status == "running" and self._terms.logfile is not None:
                logs = fetch_logs(self._client)
            with contextlib.suppress(Exception):
                self._client.close(timeout=5)
        if self._cluster is not None:
            if self._terms.logfile is not None:
                logs = {**self._consoles(self._cluster), **logs, **self._cluster.logs}
            with contextlib.suppress(Exception):
                self._background.run(self._cluster.abandon(), CLOSE_SECONDS)
        return logs

    def _consoles(self, cluster: MachineCluster) -> dict[str, list[str]]:
        """The last lines of machines that ended before their logs could be asked for."""
        names = [machine for machine in cluster.rented if machine.returned_at is not None]
        return {f"console of {m.name}": self._account.console(m.instance["InstanceId"]) for m in names}

    def _bill(self, cluster: MachineCluster) -> str:
        rates: dict[str, float] = {"scheduler": self._offer.rates.scheduler, "worker": self._offer.rates.worker}
        spent = sum(rates[machine.role] * max(machine.hours, 1 / 60) for machine in cluster.rented)
        return f"ec2: all {len(cluster.rented)} machines are terminated; together they cost ${spent:.2f} at most"


@contextlib.contextmanager
def _deaf(tell: Tell) -> Iterator[None]:
    """Let nothing interrupt the taking down; a second Ctrl-C would leave machines running."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def explain(number: int, frame: Any) -> None:
        tell("ec2: machines are being terminated, a moment")

    before = {number: signal.signal(number, explain) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
