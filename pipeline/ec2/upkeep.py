"""What has to be looked after while a cluster on EC2 lives: workers that fail, money and time that run out."""

from __future__ import annotations

import asyncio
import datetime
import math
import time

from distributed import Adaptive

from pipeline.clusters.terms import Tell
from pipeline.clusters.workers import Workers
from pipeline.config import settings
from pipeline.ec2.machine_cluster import MachineCluster

TARGET_SECONDS = 2.0  # of work waiting for each thread make a growing cluster grow


class _Graceful(Adaptive):
    """Lets workers go as the cluster does."""

    async def scale_down(self, workers: list[str]) -> None:
        if workers:
            await self.cluster.retire_named(list(workers))


class Upkeep:
    """Looks after one cluster; made and run in the cluster's event loop.

    Parameters
    ----------
    cluster : MachineCluster
    workers : Workers
    expires : datetime
    reason : str
        Why it ends then.
    tell : callable
    """

    def __init__(
        self, cluster: MachineCluster, workers: Workers, expires: datetime.datetime, reason: str, tell: Tell
    ) -> None:
        self._cluster = cluster
        self._workers = workers
        self._expires = expires
        self._reason = reason
        self._tell = tell
        self._told: set[str] = set()
        self._alone_since: float | None = None
        self.ended: str | None = None
        interval = settings().scaling_seconds
        if workers.fixed:
            cluster.scale(workers.maximum)
        else:
            cluster.adapt(
                Adaptive=_Graceful,
                minimum=workers.minimum,
                maximum=workers.maximum,
                interval=interval,
                wait_count=max(math.ceil(settings().ec2_spare_seconds / interval), 1),
                target_duration=TARGET_SECONDS,
            )

    async def run(self) -> None:
        """Look again and again, until the cluster has ended."""
        while self.ended is None:
            await asyncio.sleep(settings().scaling_seconds)
            await self.look()

    async def look(self) -> None:
        """Look once: end what is over, replace what is missing."""
        if self.ended is None:
            self.ended = await self._why_over()
        if self.ended is not None:
            return
        await self._give_up_late_ones()
        if self._workers.fixed and len(self._cluster.worker_spec) < self._workers.maximum:
            self._cluster.scale(self._workers.maximum)
        if set(self._cluster.worker_spec) - set(self._cluster.workers):  # lost ones: dask-cloudprovider waits for us
            await self._cluster._correct_state()
        if self._cluster.trouble is not None:
            self._say(f"ec2: {self._cluster.trouble.message}")

    async def _why_over(self) -> str | None:
        if datetime.datetime.now(datetime.UTC) >= self._expires:
            return self._reason
        watching = self._cluster._watch_worker_status_task
        if watching is not None and watching.done():
            state = await self._cluster.state_of(self._cluster.scheduler.instance["InstanceId"])
            idle = settings().ec2_idle_seconds
            return f"its scheduler has stopped (the machine is {state}; it stops by itself when idle for {idle:g} s)"
        return self._why_hopeless()

    def _why_hopeless(self) -> str | None:
        """EC2 has refused machines for so long that one could have started, and there is none."""
        trouble, now = self._cluster.trouble, time.monotonic()
        if trouble is None or self._cluster.workers:
            self._alone_since = None
            return None
        self._alone_since = self._alone_since or now
        return trouble.message if now - self._alone_since > settings().ec2_start_seconds else None

    async def _give_up_late_ones(self) -> None:
        there = {worker["name"] for worker in self._cluster.scheduler_info["workers"].values()}
        for name, machine in list(self._cluster.workers.items()):
            waited = time.monotonic() - machine.asked_at
            if name in there:
                machine.joined = True
            elif not machine.joined and waited > settings().ec2_start_seconds:
                self._say(await self._cluster.say_console(machine, f"ec2: {name} has not joined and is replaced"))
                await self._cluster.give_up(name)

    def _say(self, sentence: str) -> None:
        """Tell a sentence once."""
        if sentence not in self._told:
            self._told.add(sentence)
            self._tell(sentence)
