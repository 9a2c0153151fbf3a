"""dask-cloudprovider's machines, with the traps closed that its own have.

Each method says which. Made for dask-cloudprovider 2025.9, of which only this and `machine_cluster` know.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from typing import Any

from dask_cloudprovider.aws.ec2 import EC2Instance, EC2Scheduler, EC2Worker
from distributed.core import Status

from pipeline.config import settings
from pipeline.ec2.account import explain
from pipeline.errors import ClusterError

KNOCK_SECONDS = 3.0


class _Machine(EC2Instance):
    """What scheduler and workers share."""

    role: str
    asked_at = 0.0
    returned_at: float | None = None
    joined = False

    @property
    def set_env(self) -> str:
        """Configuration of this role alone: upstream sends all of Dask's, with whatever secrets a user keeps there."""
        return f'env DASK_INTERNAL_INHERIT_CONFIG="{self.cluster.shared_configuration(self.role)}"'

    @set_env.setter
    def set_env(self, value: str) -> None:
        """Upstream's is not taken."""

    async def create_vm(self) -> tuple[str, str | None]:
        """Start the machine; gives its private address first, which is what other machines are to use.

        Upstream waits without an end, forgets a machine when it is cancelled, and lets workers reach the scheduler by
        its public address, where a security group does not know them.
        """
        self.asked_at = time.monotonic()
        self.cluster.in_the_making += 1
        try:
            async with asyncio.timeout(settings().ec2_start_seconds):
                await super().create_vm()
        except BaseException as error:
            self.status = Status.failed
            await asyncio.shield(self.destroy_vm())
            if isinstance(error, Exception):  # an answer has come; else EC2 may make a machine that nobody knows yet
                self.cluster.in_the_making -= 1
            if isinstance(error, TimeoutError):
                raise ClusterError(f"EC2 gave {self.name} no address in time", code="ec2") from error
            if isinstance(error, Exception):
                raise explain(error, "run_instances") from error
            raise
        self.cluster.in_the_making -= 1
        self.cluster.rented.append(self)
        return self.instance["PrivateIpAddress"], None if self.use_private_ip else self.instance["PublicIpAddress"]

    async def destroy_vm(self) -> None:
        """Terminate the machine if there is one; upstream fails where there is none, and leaves others running then."""
        if self.instance is None:
            return
        with contextlib.suppress(Exception):  # the session's last act is to terminate by tag whatever is left
            await super().destroy_vm()
        if self.returned_at is None:
            self.returned_at = time.monotonic()

    @property
    def hours(self) -> float:
        """How long it has been rented."""
        return ((self.returned_at or time.monotonic()) - self.asked_at) / 3600


class SchedulerMachine(_Machine, EC2Scheduler):
    """The scheduler."""

    role = "scheduler"

    async def wait_for_scheduler(self) -> None:
        """Wait until it answers; upstream does so for ever, and blocks all else meanwhile."""
        host = (self.external_address or self.address).partition("://")[2].rpartition(":")[0]
        deadline = time.monotonic() + settings().ec2_start_seconds
        while not await _answers(host, self.port):
            state = await self.cluster.state_of(self.instance["InstanceId"])
            if time.monotonic() > deadline or state not in ("pending", "running"):
                why = f"is {state}" if state not in ("pending", "running") else "does not answer"
                raise ClusterError(await self.cluster.say_console(self, f"The scheduler at {host} {why}"), code="ec2")
            await asyncio.sleep(0.5)


class WorkerMachine(_Machine, EC2Worker):
    """A worker."""

    role = "worker"
    command: str
    name: str

    def __init__(self, *args: Any, name: str, **options: Any) -> None:
        """Upstream gives the worker a name that its cluster does not know, so a dead one is never replaced."""
        super().__init__(*args, **options)
        self.command = self.command.replace(self.name, name)
        self.name = name


def switch_off_at(expires: datetime.datetime) -> str:
    """A command for a starting machine: end at a time, whatever happens. EC2 terminates machines that switch off."""
    at = int(expires.timestamp())
    return f"'shutdown -h +$(m=$(( ({at} - $(date +%s)) / 60 )); [ $m -gt 0 ] && echo $m || echo 0)'"


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(KNOCK_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True
