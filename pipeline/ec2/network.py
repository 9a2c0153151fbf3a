"""Where machines stand and who reaches them: a subnet, and a security group that lets in the client alone."""

from __future__ import annotations

import ipaddress
import socket
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import settings
from pipeline.ec2.account import Account
from pipeline.ec2.configuration import SCHEDULER_PORT, Configuration
from pipeline.ec2.tags import CLUSTER, Tags, as_list
from pipeline.errors import ClusterError


@dataclass(frozen=True)
class Subnet:
    """A subnet.

    Parameters
    ----------
    id, vpc, network : str
        The network as 172.31.0.0/20.
    """

    id: str
    vpc: str
    network: str


def find_subnet(account: Account, subnet: str | None) -> Subnet:
    """The subnet of the settings, or the first of the account's default network.

    Raises
    ------
    ClusterError
        If there is none.
    """
    if subnet is not None:
        found = account.call("describe_subnets", SubnetIds=[subnet])["Subnets"]
    else:
        default = [{"Name": "default-for-az", "Values": ["true"]}]
        found = account.call("describe_subnets", Filters=default)["Subnets"]
        found = sorted(found, key=lambda row: row["AvailabilityZone"])
    if not found:
        raise ClusterError(
            f"The account has no default network in {account.region}: set VOXELFOREST_EC2_SUBNET", code="ec2"
        )
    return Subnet(found[0]["SubnetId"], found[0]["VpcId"], found[0]["CidrBlock"])


def client_network(configuration: Configuration, subnet: Subnet) -> str:
    """Addresses that may reach the scheduler: the setting, or this machine's own as the machines see it.

    Raises
    ------
    ClusterError
        If it cannot be found out.
    """
    if configuration.client is not None:
        return configuration.client
    address = _address_towards(subnet) if configuration.private else _public_address()
    return f"{address}/{ipaddress.ip_address(address).max_prefixlen}"


def make_group(
    account: Account, cluster: str, subnet: Subnet, client: str, tags: Tags, ports: Sequence[int] = (SCHEDULER_PORT,)
) -> str:
    """A security group for one cluster: its members reach each other, the client reaches the scheduler, nobody else."""
    group = account.call(
        "create_security_group",
        GroupName=f"{CLUSTER}-{cluster}",
        Description="VoxelForest: one cluster and its client",
        VpcId=subnet.vpc,
        TagSpecifications=[{"ResourceType": "security-group", "Tags": as_list(tags)}],
    )["GroupId"]
    inside = {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "UserIdGroupPairs": [{"GroupId": group}]}
    openings = [_opening(client, port) for port in ports]
    account.call("authorize_security_group_ingress", GroupId=group, IpPermissions=[inside, *openings])
    return str(group)


def _opening(network: str, port: int) -> dict[str, Any]:
    entry = {"Description": "the client"}
    many = "IpRanges" if ipaddress.ip_network(network).version == 4 else "Ipv6Ranges"
    one = "CidrIp" if many == "IpRanges" else "CidrIpv6"
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, many: [{one: network, **entry}]}


def _address_towards(subnet: Subnet) -> str:
    """This machine's address on the way to a network; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
        towards.connect((str(ipaddress.ip_network(subnet.network)[1]), 9))
        return str(towards.getsockname()[0])


def _public_address() -> str:
    service = settings().ec2_address_service
    try:
        with urllib.request.urlopen(service, timeout=settings().connect_seconds) as answer:
            text = answer.read(100).decode("ascii", "replace").strip()
        return str(ipaddress.ip_address(text))
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise ClusterError(
            f"The address of this machine could not be found out ({service}: {error}): set VOXELFOREST_EC2_CLIENT to "
            "it, as 203.0.113.7/32",
            code="ec2",
        ) from error
