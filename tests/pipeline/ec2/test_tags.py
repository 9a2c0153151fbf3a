"""Tags say whose a machine is, until when, and whether its client lives."""

from __future__ import annotations

import datetime
import os
import platform

import pytest

from pipeline.ec2.sweep import Machine, is_orphan
from pipeline.ec2.tags import DRIVER, EXPIRES, Driver, as_list, as_tags, make_tags, parse_expiry

NOW = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)


def test_tags_are_read_back() -> None:
    tags = as_tags(as_list(make_tags("abc", "ada@lab", "brains", NOW)))
    assert parse_expiry(tags[EXPIRES]) == NOW
    assert Driver.parse(tags[DRIVER]) == Driver.here()
    assert (tags["owner"], tags["project"], tags["voxelforest-cluster"]) == ("ada@lab", "brains", "abc")


@pytest.mark.parametrize("text", ["", "host", "host/x@1", "host/1@x", "soon", "2026-05-01"])
def test_tags_that_others_changed_say_nothing(text: str) -> None:
    assert Driver.parse(text) is None
    assert parse_expiry(text) is None


def test_driver_is_gone_only_where_that_is_certain() -> None:
    here = Driver.here()
    assert not here.is_gone()
    assert Driver(platform.node(), os.getpid(), here.started - 3600).is_gone(), "the number was given again"
    assert Driver(platform.node(), 2**22 + 1, 0).is_gone()
    assert not Driver("another", 2**22 + 1, 0).is_gone()


def machine(role: str = "worker", age: datetime.timedelta = HOUR, **changes: object) -> Machine:
    kept = {"expires": NOW + HOUR, "driver": Driver("another", 1, 1), **changes}
    return Machine("i-1", "abc", "ada", role, "c6i.large", "running", "us-east-1", NOW - age, spot=False, **kept)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "others", "orphan"),
    [
        (machine(), [machine("scheduler")], False),
        (machine(), [], True),
        (machine(age=datetime.timedelta(minutes=1)), [], False),
        (machine("scheduler"), [], False),
        (machine(expires=NOW - HOUR), [machine("scheduler")], True),
        (machine(driver=Driver(platform.node(), 2**22 + 1, 0)), [machine("scheduler")], True),
        (machine(driver=None, expires=None), [machine("scheduler")], False),
    ],
)
def test_orphans_are_told_from_those_that_work(found: Machine, others: list[Machine], orphan: bool) -> None:
    assert is_orphan(found, [found, *others], NOW) is orphan
