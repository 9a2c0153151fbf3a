"""dask-cloudprovider's cluster on EC2, with the traps closed that its own has; each method says which."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import math
import time
from typing import Any

import dask.config
from dask_cloudprovider.aws.ec2 import EC2Cluster
from dask_cloudprovider.generic.vmcluster import VMCluster
from distributed.core import Status

from pipeline.clusters.certificates import Certificates
from pipeline.clusters.logs import log_lines
from pipeline.config import settings
from pipeline.ec2.account import Account, explain
from pipeline.ec2.configuration import DASHBOARD_PORT, SCHEDULER_PORT, Configuration
from pipeline.ec2.inspection import Site
from pipeline.ec2.machines import SchedulerMachine, WorkerMachine, switch_off_at
from pipeline.ec2.tags import CLUSTER, ROLE, Tags
from pipeline.errors import ClusterError

USER_DATA_BYTES = 16_384  # EC2's limit, before base64
LOOPBACK = "127.0.0.1"
FIRST_BACKOFF, LAST_BACKOFF = 5.0, 300.0  # seconds between attempts to start workers that EC2 refuses


class MachineCluster(EC2Cluster):
    """A cluster on EC2.

    Parameters
    ----------
    account : Account
    configuration : Configuration
    site : Site
    group : str
        Security group.
    certificates : Certificates
    tags : dict of str
    expires : datetime
        When all machines switch themselves off.
    """

    def __init__(
        self,
        account: Account,
        configuration: Configuration,
        site: Site,
        group: str,
        certificates: Certificates,
        tags: Tags,
        expires: datetime.datetime,
    ) -> None:
        self.account = account
        self.certificates = certificates
        self.cluster_id = tags[CLUSTER]
        self.trouble: ClusterError | None = None
        self.rented: list[SchedulerMachine | WorkerMachine] = []
        self.in_the_making = 0
        self.logs: dict[str, list[str]] = {}
        self._retry_at = 0.0
        self._backoff = FIRST_BACKOFF
        self._numbers = itertools.count()
        super().__init__(
            region=account.region,
            bootstrap=False,
            auto_shutdown=True,
            ami=configuration.image,
            docker_image=configuration.container,
            scheduler_instance_type=configuration.scheduler_type,
            worker_instance_type=configuration.worker_type,
            vpc=site.subnet.vpc,
            subnet_id=site.subnet.id,
            security_groups=[group],
            filesystem_size=configuration.disk,
            iam_instance_profile={"Name": configuration.profile} if configuration.profile else {},
            use_private_ip=configuration.private,
            spot=configuration.spot,
            volume_tags=dict(tags),
            extra_bootstrap=[switch_off_at(expires)],
            env_vars={"AWS_DEFAULT_REGION": account.region},
            docker_args="--entrypoint=",  # the image may have the command line of this package as its own
            scheduler_options={
                "port": SCHEDULER_PORT,
                "idle_timeout": f"{math.ceil(settings().ec2_idle_seconds)}s",
                "dashboard_address": f"{'' if configuration.dashboard else LOOPBACK}:{DASHBOARD_PORT}",
            },
            worker_options={
                "nthreads": site.threads,
                "memory_limit": site.memory,
                "death_timeout": f"{math.ceil(settings().ec2_orphan_seconds)}s",
                "dashboard": False,
                "dashboard_address": f"{LOOPBACK}:0",
            },
            security=False,  # given in `_start`: upstream would put it into the configuration of the whole process
            protocol="tls",
            asynchronous=True,
        )
        for options, role in ((self.scheduler_options, "scheduler"), (self.worker_options, "worker")):
            options["instance_tags"] = {**self.instance_tags, **tags, ROLE: role}

    def _log(self, log: str) -> None:
        """Keep what upstream would print."""
        self.logs.setdefault("machines", []).append(f"{datetime.datetime.now(datetime.UTC):%H:%M:%S} {log}")

    def shared_configuration(self, role: str) -> str:
        """What a machine of this role is told of Dask's configuration."""
        return str(dask.config.serialize(self.certificates.configuration(role)))

    async def _start(self) -> None:
        """Put in our machines, which upstream's constructor overwrites, and certificates.

        Upstream's own step would do no more, but warn that this takes more than ten seconds, which it always does.
        """
        self.security = self.certificates.client
        self.scheduler_spec = {"cls": SchedulerMachine, "options": self.scheduler_options}
        self.new_spec = {"cls": WorkerMachine, "options": self.worker_options}
        self._check_user_data()
        await super(VMCluster, self)._start()

    def _check_user_data(self) -> None:
        """Before the first machine, since the limit is the same for all: EC2 would refuse the workers only later."""
        scheduler = SchedulerMachine(**self.scheduler_options)
        worker = WorkerMachine("tls://255.255.255.255:65535", name=f"{self.cluster_id}-9999", **self.worker_options)
        for machine in (scheduler, worker):
            self.render_process_cloud_init(machine)

    def render_process_cloud_init(self, process: Any) -> str:
        """What a machine is told to do when it starts.

        Raises
        ------
        ClusterError
            If it is longer than EC2 takes.
        """
        text = str(super().render_process_cloud_init(process))
        if len(text.encode()) > USER_DATA_BYTES:
            raise ClusterError(
                f"What a {process.role} is told when it starts takes {len(text.encode()):,} bytes, and EC2 takes "
                f"{USER_DATA_BYTES:,}: use shorter names of images",
                code="ec2",
            )
        return text

    def _new_worker_name(self, worker_number: int) -> str:
        """A name that is never used again: a scheduler refuses a worker under the name of one it still believes in."""
        return f"{self.cluster_id}-{next(self._numbers)}"

    def scale(self, n: int = 0, memory: Any = None, cores: Any = None) -> Any:
        """Go to `n` workers: more only when EC2's last refusal is a while ago, fewer without losing what they hold."""
        if n > len(self.worker_spec) and time.monotonic() < self._retry_at:
            return None
        if n < len(self.worker_spec) and self.status == Status.running:
            self.loop.add_callback(self.retire, n)
            return None
        return super().scale(n, memory, cores)

    async def retire(self, n: int) -> None:
        """Go down to `n` workers; results they hold move to those that stay, before their machines end."""
        too_many = len(self.worker_spec) - n
        connected = {worker["name"] for worker in self.scheduler_info["workers"].values()}
        chosen = [name for name in self.worker_spec if name not in connected][:too_many]
        if len(chosen) < too_many:
            chosen += await self.scheduler_comm.workers_to_close(n=too_many - len(chosen), attribute="name")
            if len(chosen) < too_many:  # busy ones are never proposed
                chosen += [name for name in reversed(self.worker_spec) if name not in chosen][: too_many - len(chosen)]
        await self.retire_named(chosen)

    async def retire_named(self, names: list[str]) -> None:
        """Let workers go, gracefully, keeping what they have logged."""
        addresses = [address for address, w in self.scheduler_info["workers"].items() if w["name"] in names]
        with contextlib.suppress(Exception):
            found = await self.scheduler_comm.worker_logs(workers=addresses)
            self.logs |= {f"worker {address}": log_lines(records) for address, records in found.items()}
        await self.scheduler_comm.retire_workers(names=names, close_workers=True, remove=True)
        await self.scale_down(names)

    async def _correct_state_internal(self) -> None:
        """Start and end machines as planned; those that EC2 refuses are taken out of the plan, and `trouble` says why.

        Upstream keeps them in the plan, so they count as started for ever.
        """
        try:
            await super()._correct_state_internal()
        except Exception as error:
            self.trouble = explain(error, "run_instances")
            self._retry_at = time.monotonic() + self._backoff
            self._backoff = min(2 * self._backoff, LAST_BACKOFF)
        else:
            if self.workers:
                self._backoff = FIRST_BACKOFF
        for name in [name for name, worker in self.workers.items() if worker.status != Status.running]:
            del self.workers[name]
            self.worker_spec.pop(name, None)

    async def give_up(self, name: str) -> None:
        """End a worker that never came, and take it out of the plan."""
        worker = self.workers.pop(name)
        self.worker_spec.pop(name, None)
        await worker.close()

    async def abandon(self) -> None:
        """Let go of everything here, without a word to the scheduler: it may be gone, and is to be terminated anyway.

        Upstream's way retires the workers first, for which they move what they hold, and waits for answers.
        """
        if self._adaptive is not None:
            self._adaptive.stop()
        for callback in self.periodic_callbacks.values():
            callback.stop()
        if self._watch_worker_status_comm is not None:
            self._watch_worker_status_comm.abort()
        if self.scheduler_comm is not None:
            await self.scheduler_comm.close_rpc()
        self.status = Status.closed

    async def state_of(self, machine: str) -> str:
        """State of a machine, as EC2 names it; pending where EC2 does not know it yet."""
        try:
            answer = await asyncio.to_thread(self.account.call, "describe_instances", InstanceIds=[machine])
        except ClusterError:
            return "pending"
        return str(answer["Reservations"][0]["Instances"][0]["State"]["Name"])

    async def say_console(self, machine: SchedulerMachine | WorkerMachine, sentence: str) -> str:
        """A sentence about a machine, with what it wrote to its console."""
        lines = await asyncio.to_thread(self.account.console, machine.instance["InstanceId"])
        said = " | ".join(lines) or "nothing yet"
        return f"{sentence} after {time.monotonic() - machine.asked_at:.0f} s; its console says: {said}"
