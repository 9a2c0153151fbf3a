"""What machines are asked for and told, by the words that go to EC2."""

from __future__ import annotations

import asyncio
import datetime
import subprocess
from collections.abc import Iterator
from typing import Any

import dask.config
import pytest
import yaml

pytest.importorskip("dask_cloudprovider")
pytest.importorskip("moto.server")

from pipeline.clusters.certificates import make_certificates
from pipeline.ec2.account import Account
from pipeline.ec2.configuration import read_configuration
from pipeline.ec2.inspection import inspect_site
from pipeline.ec2.machine_cluster import MachineCluster
from pipeline.ec2.machines import SchedulerMachine, WorkerMachine, switch_off_at
from pipeline.ec2.tags import make_tags
from pipeline.errors import ClusterError
from tests.machines import NEIGHBOURS, Machines, machines

SOON = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1, seconds=30)


@pytest.fixture(scope="module")
def ec2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines(tmp_path_factory.mktemp("ec2")) as found:
        found.boots = False
        yield found


def with_cluster(ask: Any) -> Any:
    """What a coroutine makes of a cluster that was not started."""

    async def ask_one() -> Any:
        account, configuration = Account(), read_configuration()
        tags = make_tags("abc", "ada@lab", "brains", SOON)
        group = account.call("describe_security_groups")["SecurityGroups"][0]["GroupId"]
        site = inspect_site(account, configuration)
        cluster = MachineCluster(account, configuration, site, group, make_certificates("abc", SOON), tags, SOON)
        try:
            return await ask(cluster)
        finally:
            await cluster.abandon()
            account.close()

    return asyncio.run(ask_one())


async def user_data_of_both(cluster: MachineCluster) -> tuple[str, str]:
    scheduler = SchedulerMachine(**cluster.scheduler_options)
    worker = WorkerMachine("tls://10.0.0.1:8786", name="abc-0", **cluster.worker_options)
    return tuple(cluster.render_process_cloud_init(machine) for machine in (scheduler, worker))  # type: ignore[return-value]


def test_machines_are_told_their_own_key_and_no_setting_of_the_user(ec2: Machines) -> None:
    before = dask.config.serialize(dask.config.global_config)
    with dask.config.set({"my-app.secret": "do-not-tell"}):
        texts = with_cluster(user_data_of_both)
    assert dask.config.serialize(dask.config.global_config) == before
    for text, role, other in zip(texts, ("scheduler", "worker"), ("worker", "scheduler"), strict=True):
        told = dask.config.deserialize(text.partition('INHERIT_CONFIG="')[2].partition('"')[0])
        assert set(told["distributed"]["comm"]["tls"]) == {"ca-file", role}
        assert told["distributed"]["comm"]["require-encryption"] is True
        assert other not in told["distributed"]["comm"]["tls"]
        assert list(told) == ["distributed"]
        assert len(text) < 4000


def test_machines_end_by_themselves_in_three_ways(ec2: Machines) -> None:
    scheduler, worker = (yaml.safe_load(text)["runcmd"] for text in with_cluster(user_data_of_both))
    for commands in (scheduler, worker):
        assert commands[0].startswith("shutdown -h +")
        assert commands[-1] == "shutdown -h now"
    assert "--idle-timeout 120s" in scheduler[1]
    assert '"death_timeout": "60s"' in worker[1]
    assert '"name": "abc-0"' in worker[1]


@pytest.mark.parametrize(("seconds", "minutes"), [(3630, {"60"}), (30, {"0"}), (-500, {"0"})])
def test_switching_off_is_counted_from_when_the_machine_starts(seconds: int, minutes: set[str]) -> None:
    command = yaml.safe_load(switch_off_at(datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)))
    said = subprocess.run(
        ["sh", "-c", f"shutdown() {{ echo $2; }}; {command}"], capture_output=True, text=True, check=True
    )
    assert {said.stdout.strip().removeprefix("+")} == minutes


def test_what_does_not_fit_into_user_data_is_refused_before_a_machine_starts(ec2: Machines) -> None:
    async def begin(cluster: MachineCluster) -> None:
        cluster.worker_options["env_vars"] = {"BALLAST": "x" * 16_000}
        await cluster

    count = ec2.faults.seen["RunInstances"]
    with pytest.raises(ClusterError, match=r"What a worker is told when it starts takes 1[89],"):
        with_cluster(begin)
    assert ec2.faults.seen["RunInstances"] == count


def test_request_has_tags_role_disk_network_and_spot_for_workers_alone(
    ec2: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.config import settings

    monkeypatch.setenv("VOXELFOREST_EC2_SPOT", "1")
    settings.cache_clear()

    async def make_both(cluster: MachineCluster) -> None:
        scheduler = SchedulerMachine(**cluster.scheduler_options)
        worker = WorkerMachine("tls://10.0.0.1:8786", name="abc-0", **cluster.worker_options)
        for machine in (scheduler, worker):
            assert (await machine.create_vm())[0].startswith(f"{NEIGHBOURS}.77.")

    with_cluster(make_both)
    settings.cache_clear()
    scheduler, worker = sorted(ec2.alive(), key=ec2.role)
    assert [ec2.role(machine) for machine in (scheduler, worker)] == ["scheduler", "worker"]
    assert [machine.lifecycle for machine in (scheduler, worker)] == [None, "spot"]
    for machine in (scheduler, worker):
        tags = {tag["key"]: tag["value"] for tag in machine.get_tags()}
        assert (tags["owner"], tags["project"], tags["voxelforest-cluster"]) == ("ada@lab", "brains", "abc")
        assert tags["voxelforest-expires"] == f"{SOON:%Y-%m-%dT%H:%M:%SZ}"
        assert machine.instance_initiated_shutdown_behavior == "terminate"
        ec2.end(machine)
