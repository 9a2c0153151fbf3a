"""Machines as the settings describe them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from pipeline.config import Settings
from pipeline.ec2.configuration import owner_of, read_configuration
from pipeline.errors import PlanError

GOOD: dict[str, Any] = {"ec2_image": "ami-0123456789abcdef0", "ec2_container": "lab.example:5000/voxelforest:0.1"}


def test_settings_become_machines() -> None:
    found = read_configuration(Settings(**GOOD, ec2_client="203.0.113.7", ec2_owner="ada <ada@lab>"))
    assert (found.image, found.container) == tuple(GOOD.values())
    assert found.client == "203.0.113.7/32"
    assert found.owner == "ada -ada@lab-"
    assert "@" in owner_of(Settings())


@pytest.mark.parametrize(
    ("setting", "given"),
    [
        ("ec2_region", "eu-central-1"),
        ("ec2_subnet", "subnet-1"),
        ("ec2_security_group", "sg-1"),
        ("ec2_profile", "workers"),
        ("ec2_worker_type", "r7i.large"),
        ("ec2_scheduler_type", "t3.small"),
        ("ec2_private", True),
        ("ec2_spot", True),
        ("ec2_dashboard", True),
        ("ec2_disk", 77),
        ("ec2_project", "synapses"),
        ("ec2_prices", "r7i.large=0.1"),
        ("ec2_hours", 1.5),
    ],
)
def test_each_setting_is_in_its_place(setting: str, given: Any) -> None:
    before, after = (asdict(read_configuration(Settings(**changed))) for changed in (GOOD, {**GOOD, setting: given}))
    name = setting.removeprefix("ec2_")
    assert after == {**before, name: given}
    assert before[name] != given


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ec2_image": None}, "EC2_IMAGE is not set"),
        ({"ec2_container": ""}, "EC2_CONTAINER is not set"),
        ({"ec2_image": "ubuntu"}, "is no machine image"),
        ({"ec2_container": "voxelforest:latest"}, "is not pinned"),
        ({"ec2_container": "lab.example:5000/voxelforest"}, "is not pinned"),
        ({"ec2_container": "a b"}, "is no name of a Docker image"),
        ({"ec2_container": "a:1' && reboot"}, "is no name of a Docker image"),
        ({"ec2_client": "0.0.0.0/0"}, "lets everybody in"),
        ({"ec2_client": "::/0"}, "lets everybody in"),
        ({"ec2_client": "home"}, "is no address"),
    ],
)
def test_what_is_missing_or_dangerous_is_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanError, match=words) as caught:
        read_configuration(Settings(**{**GOOD, **changes}))
    assert caught.value.code == "ec2"
    assert "\n" not in caught.value.message


def test_digest_pins_an_image() -> None:
    container = f"voxelforest@sha256:{'0' * 64}"
    assert read_configuration(Settings(**{**GOOD, "ec2_container": container})).container == container
