"""Everything about a cluster that EC2 can be asked before anything costs."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config import settings
from pipeline.ec2.account import Account
from pipeline.ec2.configuration import HOW_TO, Configuration
from pipeline.ec2.network import Subnet, client_network, find_subnet
from pipeline.errors import ClusterError

ROOT = "/dev/sda1"  # the disk that dask-cloudprovider sizes; another root would stay small, beside an empty disk
# What the system and Docker keep of a machine, and a worker process beside its tasks.
SYSTEM_BYTES = 1 << 30
SHARE = 0.9  # of the rest is the worker's limit


@dataclass(frozen=True)
class Site:
    """Where a cluster will stand, looked up and found possible.

    Parameters
    ----------
    subnet : Subnet
    client : str
        Addresses that may reach the scheduler.
    threads : int
        Of a worker: its virtual cores, or as many as its memory has room for.
    memory : int
        Limit of a worker process, bytes.
    """

    subnet: Subnet
    client: str
    threads: int
    memory: int


def inspect_site(account: Account, configuration: Configuration, task_bytes: int | None = None) -> Site:
    """Look up image, machine types, network and addresses.

    Raises
    ------
    ClusterError
        With the code ``ec2`` or EC2's own, naming what is not there.
    """
    _check_image(account, configuration.image)
    _look_up_type(account, configuration.scheduler_type)
    cores, memory = _look_up_type(account, configuration.worker_type)
    limit = int(SHARE * (memory - SYSTEM_BYTES))
    room = (limit - SYSTEM_BYTES) // (2 * (task_bytes or int(settings().task_memory)))
    if room < 1:
        raise ClusterError(
            f"{configuration.worker_type} has {memory / 2**30:.1f} GiB of memory, too little for one task: choose a "
            "larger VOXELFOREST_EC2_WORKER_TYPE, or a smaller VOXELFOREST_TASK_MEMORY",
            code="ec2",
        )
    subnet = find_subnet(account, configuration.subnet)
    return Site(subnet, client_network(configuration, subnet), min(cores, room), limit)


def _check_image(account: Account, image: str) -> None:
    try:
        found = account.call("describe_images", ImageIds=[image])["Images"]
    except ClusterError as error:
        if not str(error.code).startswith("InvalidAMIID"):
            raise
        found = []
    if not found:
        raise ClusterError(
            f"The machine image {image} is not in the region {account.region}: images belong to one region; copy it "
            f"there, or set VOXELFOREST_EC2_IMAGE to one that is ({HOW_TO})",
            code="ec2",
        )
    root = found[0].get("RootDeviceName", ROOT)
    if root != ROOT:
        raise ClusterError(
            f"The machine image {image} has its root on {root}; one with {ROOT} is needed, such as Ubuntu's ({HOW_TO})",
            code="ec2",
        )


def _look_up_type(account: Account, kind: str) -> tuple[int, int]:
    """Virtual cores, and memory in bytes."""
    try:
        found = account.call("describe_instance_types", InstanceTypes=[kind])["InstanceTypes"]
    except ClusterError as error:
        if error.code not in ("InvalidInstanceType", "InvalidParameterValue"):
            raise
        found = []
    if not found:
        raise ClusterError(f"The region {account.region} has no machines of the type {kind}", code="ec2")
    return int(found[0]["VCpuInfo"]["DefaultVCpus"]), int(found[0]["MemoryInfo"]["SizeInMiB"]) << 20
