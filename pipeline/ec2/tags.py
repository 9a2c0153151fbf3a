"""Tags of all that is made on EC2: they are set by the call that makes it, and are how it is found again."""

from __future__ import annotations

import datetime
import os
import platform
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

CLUSTER = "voxelforest-cluster"  # only what has this tag is ever touched
ROLE = "voxelforest-role"
DRIVER = "voxelforest-driver"
EXPIRES = "voxelforest-expires"
OWNER = "owner"
PROJECT = "project"

Tags = dict[str, str]


def new_cluster_id() -> str:
    """A name that no other cluster has."""
    return uuid.uuid4().hex[:10]


@dataclass(frozen=True)
class Driver:
    """The process that a cluster belongs to; the time tells it from a later one of the same number.

    Parameters
    ----------
    host : str
    process : int
    started : int
        Seconds since 1970.
    """

    host: str
    process: int
    started: int

    @classmethod
    def here(cls) -> Driver:
        """This process."""
        return cls(platform.node(), os.getpid(), round(psutil.Process().create_time()))

    @classmethod
    def parse(cls, text: str) -> Driver | None:
        """What a tag says; None if it says something else."""
        host, _, rest = text.rpartition("/")
        process, _, started = rest.partition("@")
        return cls(host, int(process), int(started)) if process.isdecimal() and started.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.host}/{self.process}@{self.started}"

    def is_gone(self) -> bool:
        """Whether it ran on this machine and does not any more; False where that cannot be told."""
        if self.host != platform.node():
            return False
        try:
            # The start of a process is computed from the clock, which may have been set meanwhile.
            return abs(psutil.Process(self.process).create_time() - self.started) > 60
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


def make_tags(cluster: str, owner: str, project: str, expires: datetime.datetime) -> Tags:
    """Tags of a new cluster's machines, disks and security group, their roles apart."""
    return {
        CLUSTER: cluster,
        OWNER: owner,
        PROJECT: project,
        EXPIRES: expires.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        DRIVER: str(Driver.here()),
    }


def as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as EC2 takes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def as_tags(listed: Sequence[Mapping[str, str]]) -> Tags:
    """Tags as EC2 gives them."""
    return {tag["Key"]: tag["Value"] for tag in listed}


def parse_expiry(text: str) -> datetime.datetime | None:
    """The time that a tag says; None if it says something else."""
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC)
    except ValueError:
        return None
