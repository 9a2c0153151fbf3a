"""What an account has to be allowed, and no more, as documents of Amazon's IAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.ec2.tags import CLUSTER

VERSION = "2012-10-17"
LOOKING = ("Images", "Instances", "InstanceTypes", "SecurityGroups", "Subnets")
OURS = {"StringLike": {f"aws:ResourceTag/{CLUSTER}": "*"}}
TO_BE_OURS = {"StringLike": {f"aws:RequestTag/{CLUSTER}": "*"}}
MADE_HERE = {"StringEquals": {"ec2:CreateAction": ["RunInstances", "CreateSecurityGroup"]}}


def client_policy(region: str = "*", profile: str | None = None, *, spot: bool = False) -> dict[str, Any]:
    """What who starts clusters needs: to start machines with our tag, and to end those that have it.

    Parameters
    ----------
    region : str
    profile : str, optional
        The instance profile, whose role of the same name is handed to machines.
    spot : bool
        Whether spot machines are used; the first needs a role of Amazon's.
    """

    def ec2(*kinds: str) -> list[str]:
        return [f"arn:aws:ec2:{region}:*:{kind}/*" for kind in kinds]

    statements = [
        _allow("Look", [f"ec2:Describe{what}" for what in LOOKING], ["*"]),
        _allow("StartTagged", ["ec2:RunInstances"], ec2("instance", "volume"), TO_BE_OURS),
        _allow(
            "StartFrom",
            ["ec2:RunInstances"],
            [f"arn:aws:ec2:{region}::image/*", *ec2("network-interface", "security-group", "subnet")],
        ),
        _allow("TagWhatIsMade", ["ec2:CreateTags"], ec2("instance", "volume", "security-group"), MADE_HERE),
        _allow("NameOurs", ["ec2:CreateTags"], ec2("instance"), OURS),
        _allow("EndOurs", ["ec2:TerminateInstances", "ec2:GetConsoleOutput"], ec2("instance"), OURS),
        _allow("MakeGroup", ["ec2:CreateSecurityGroup"], ec2("security-group"), TO_BE_OURS),
        _allow("MakeGroupIn", ["ec2:CreateSecurityGroup"], ec2("vpc")),
        _allow(
            "ChangeOurGroup",
            ["ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup"],
            ec2("security-group"),
            OURS,
        ),
    ]
    if profile is not None:
        to_machines = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
        statements.append(_allow("HandOverRole", ["iam:PassRole"], [f"arn:aws:iam::*:role/{profile}"], to_machines))
    if spot:
        by_spot = {"StringEquals": {"iam:AWSServiceName": "spot.amazonaws.com"}}
        statements.append(_allow("FirstSpot", ["iam:CreateServiceLinkedRole"], ["*"], by_spot))
    return {"Version": VERSION, "Statement": statements}


def worker_policy(buckets: Sequence[str]) -> dict[str, Any]:
    """What the role of the machines needs: to read and write these buckets."""
    objects = [f"arn:aws:s3:::{bucket}/*" for bucket in buckets]
    whole = [f"arn:aws:s3:::{bucket}" for bucket in buckets]
    return {
        "Version": VERSION,
        "Statement": [
            _allow("Objects", ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], objects),
            _allow("Lists", ["s3:ListBucket"], whole),
        ],
    }


def _allow(
    name: str, actions: Sequence[str], resources: Sequence[str], condition: dict[str, Any] | None = None
) -> dict[str, Any]:
    statement = {"Sid": name, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return {**statement, "Condition": condition} if condition else statement
