"""What clusters have left on EC2: found by our own tags, told orphans from those that work, and ended."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.clusters.terms import Tell, keep_silent
from pipeline.config import settings
from pipeline.ec2.account import Account
from pipeline.ec2.tags import CLUSTER, DRIVER, EXPIRES, OWNER, ROLE, Driver, as_tags, parse_expiry
from pipeline.errors import ClusterError

ALIVE = ("pending", "running", "stopping", "stopped", "shutting-down")
CHARGED = ("pending", "running", "stopping", "stopped")
GROUP_SECONDS = 180.0  # a security group goes only after the last machine in it has


@dataclass(frozen=True)
class Machine:
    """A machine of a cluster, as EC2 lists it.

    Parameters
    ----------
    id, cluster, owner, role, type, state, region : str
    launched : datetime
    expires : datetime, optional
    driver : Driver, optional
    spot : bool
    """

    id: str
    cluster: str
    owner: str
    role: str
    type: str
    state: str
    region: str
    launched: datetime.datetime
    expires: datetime.datetime | None
    driver: Driver | None
    spot: bool


@dataclass(frozen=True)
class Group:
    """A security group of a cluster."""

    id: str
    cluster: str
    owner: str
    driver: Driver | None


def find_machines(account: Account, cluster: str | None = None) -> list[Machine]:
    """Machines with our tag that are not terminated, of one cluster or all."""
    pages = account.pages("describe_instances", Filters=[_tagged(cluster), _states()])
    reservations = [reservation for page in pages for reservation in page["Reservations"]]
    return [_machine(found, account.region) for reservation in reservations for found in reservation["Instances"]]


def find_groups(account: Account, cluster: str | None = None) -> list[Group]:
    """Security groups with our tag, of one cluster or all."""
    groups = []
    for page in account.pages("describe_security_groups", Filters=[_tagged(cluster)]):
        for found in page["SecurityGroups"]:
            tags = as_tags(found.get("Tags", ()))
            driver = Driver.parse(tags.get(DRIVER, ""))
            groups.append(Group(found["GroupId"], tags[CLUSTER], tags.get(OWNER, ""), driver))
    return groups


def is_orphan(machine: Machine, machines: Iterable[Machine], now: datetime.datetime) -> bool:
    """Whether nobody uses a machine any more: its time is over, its driver has died here, its scheduler is gone."""
    if machine.expires is not None and machine.expires < now:
        return True
    if machine.driver is not None and machine.driver.is_gone():
        return True
    alone = not any(other.cluster == machine.cluster and other.role == "scheduler" for other in machines)
    patience = settings().ec2_start_seconds + settings().ec2_orphan_seconds
    return machine.role == "worker" and alone and (now - machine.launched).total_seconds() > patience


def sweep_orphans(account: Account, owner: str, tell: Tell = keep_silent) -> list[str]:
    """Terminate this owner's orphans and remove their security groups; returns the machines' ids."""
    now = datetime.datetime.now(datetime.UTC)
    machines = find_machines(account)
    orphans = [m for m in machines if m.owner == owner and m.state in CHARGED and is_orphan(m, machines, now)]
    if orphans:
        ids = [machine.id for machine in orphans]
        tell(f"ec2: {len(ids)} machines were left over and are terminated: {', '.join(ids)}")
        terminate(account, ids)
    sweep_groups(account, owner)
    return [machine.id for machine in orphans]


def sweep_groups(account: Account, owner: str) -> None:
    """Remove this owner's security groups whose clusters have no machines any more, and no client."""
    held = {machine.cluster for machine in find_machines(account)}
    for group in find_groups(account):
        gone = group.driver is None or group.driver.is_gone()
        if group.owner == owner and gone and group.cluster not in held:
            _delete_group(account, group.id)


def end_cluster(account: Account, cluster: str, tell: Tell = keep_silent, *, calm: float = 1.0) -> list[str]:
    """Terminate all machines of a cluster, also those that EC2 lists late, and remove its security group.

    Parameters
    ----------
    account : Account
    cluster : str
    tell : callable
        Told what could not be removed.
    calm : float
        Seconds between two listings that have to show nothing: a machine that was asked for a moment ago may be
        missing from the first.

    Returns
    -------
    list of str
        Ids of the machines that this call terminated.
    """
    ended: list[str] = []
    quiet = 0
    while quiet < 2:
        found = [machine.id for machine in find_machines(account, cluster) if machine.state in CHARGED]
        terminate(account, found)
        ended += found
        quiet = 0 if found else quiet + 1
        if quiet < 2:
            time.sleep(calm)
    for group in find_groups(account, cluster):
        if not _within(GROUP_SECONDS, lambda group=group: _delete_group(account, group.id)):  # type: ignore[misc]
            tell(f"ec2: the security group {group.id} is still in use; `voxelforest cluster down` removes it later")
    return ended


def terminate(account: Account, machines: list[str]) -> None:
    """Terminate machines; those that are gone already, or are going with what belonged to them, are no error."""
    for first in range(0, len(machines), 500):
        part = machines[first : first + 500]
        try:
            account.call("terminate_instances", InstanceIds=part)
        except ClusterError as error:
            if not (error.code or "").endswith(".NotFound"):
                raise
            for machine in part if len(part) > 1 else ():
                terminate(account, [machine])


def _delete_group(account: Account, group: str) -> bool:
    """Whether the group is gone; it is not while machines are in it."""
    try:
        account.call("delete_security_group", GroupId=group)
    except ClusterError as error:
        if error.code == "InvalidGroup.NotFound":
            return True
        if error.code in ("DependencyViolation", "InvalidGroup.InUse", "CannotDelete"):
            return False
        raise
    return True


def _within(seconds: float, attempt: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not attempt():
        if time.monotonic() > deadline:
            return False
        time.sleep(2.0)
    return True


def _tagged(cluster: str | None) -> dict[str, object]:
    if cluster is None:
        return {"Name": "tag-key", "Values": [CLUSTER]}
    return {"Name": f"tag:{CLUSTER}", "Values": [cluster]}


def _states() -> dict[str, object]:
    return {"Name": "instance-state-name", "Values": list(ALIVE)}


def _machine(found: dict[str, object], region: str) -> Machine:
    tags = as_tags(found.get("Tags", ()))  # type: ignore[arg-type]
    launched, state = found["LaunchTime"], found["State"]
    assert isinstance(launched, datetime.datetime)
    assert isinstance(state, dict)
    return Machine(
        str(found["InstanceId"]),
        tags.get(CLUSTER, ""),
        tags.get(OWNER, ""),
        tags.get(ROLE, ""),
        str(found["InstanceType"]),
        str(state["Name"]),
        region,
        launched,
        parse_expiry(tags.get(EXPIRES, "")),
        Driver.parse(tags.get(DRIVER, "")),
        found.get("InstanceLifecycle") == "spot",
    )
