"""What machines a cluster is made of, from the settings; nothing is asked of Amazon here."""

from __future__ import annotations

import getpass
import ipaddress
import platform
import re
from dataclasses import dataclass

from pipeline.config import Settings, settings
from pipeline.errors import PlanError

SCHEDULER_PORT = 8786
DASHBOARD_PORT = 8787
HOW_TO = "docs/how-to/cluster.md shows how both are made"


@dataclass(frozen=True)
class Configuration:
    """What the settings say about machines; see `pipeline.cluster_settings` for each.

    Parameters
    ----------
    image, container : str
        Machine image and Docker image.
    region, subnet, security_group, client, profile : str, optional
    worker_type, scheduler_type : str
    private, spot, dashboard : bool
    disk : int
        GB.
    project, owner : str
        Tags.
    prices : str
    hours : float
        That a cluster lasts at most.
    """

    image: str
    container: str
    region: str | None
    subnet: str | None
    security_group: str | None
    client: str | None
    profile: str | None
    worker_type: str
    scheduler_type: str
    private: bool
    spot: bool
    dashboard: bool
    disk: int
    project: str
    owner: str
    prices: str
    hours: float


def read_configuration(table: Settings | None = None) -> Configuration:
    """The configuration that the settings describe.

    Raises
    ------
    PlanError
        With the code ``ec2``, naming the variable that is missing or not usable.
    """
    table = table or settings()
    for name, value in (("IMAGE", table.ec2_image), ("CONTAINER", table.ec2_container)):
        if not value:
            raise PlanError(f"VOXELFOREST_EC2_{name} is not set, which ec2 needs; {HOW_TO}", code="ec2")
    image, container = str(table.ec2_image), str(table.ec2_container)
    if not re.fullmatch(r"ami-[0-9a-f]{8,17}", image):
        raise PlanError(f"VOXELFOREST_EC2_IMAGE={image} is no machine image; they are named ami-…", code="ec2")
    _check_container(container)
    return Configuration(
        image,
        container,
        table.ec2_region,
        table.ec2_subnet,
        table.ec2_security_group,
        None if table.ec2_client is None else _network(table.ec2_client),
        table.ec2_profile,
        table.ec2_worker_type,
        table.ec2_scheduler_type,
        table.ec2_private,
        table.ec2_spot,
        table.ec2_dashboard,
        table.ec2_disk,
        _tag(table.ec2_project),
        owner_of(table),
        table.ec2_prices,
        table.ec2_hours,
    )


def owner_of(table: Settings | None = None) -> str:
    """Who makes machines, as their tag says it: the setting, or user and host."""
    given = (table or settings()).ec2_owner
    return _tag(given or f"{_user()}@{platform.node()}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return "somebody"


def _check_container(container: str) -> None:
    """An image that may change under its name would be another version tomorrow."""
    if not re.fullmatch(r"[\w.:/@-]+", container):
        raise PlanError(f"VOXELFOREST_EC2_CONTAINER={container!r} is no name of a Docker image", code="ec2")
    tag = container.rpartition("/")[2].partition(":")[2]
    if "@sha256:" not in container and tag in ("", "latest"):
        raise PlanError(
            f"VOXELFOREST_EC2_CONTAINER={container} is not pinned: name a tag other than latest, or a digest",
            code="ec2",
        )


def _network(text: str) -> str:
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise PlanError(f"VOXELFOREST_EC2_CLIENT={text!r} is no address such as 203.0.113.7/32", code="ec2") from None
    if network.prefixlen == 0:
        raise PlanError(
            f"VOXELFOREST_EC2_CLIENT={text} lets everybody in; name this machine's address, as 203.0.113.7/32",
            code="ec2",
        )
    return str(network)


def _tag(text: str) -> str:
    """Text that a tag may hold."""
    return re.sub(r"[^\w+=.:/@ -]", "-", text, flags=re.ASCII)[:200]
