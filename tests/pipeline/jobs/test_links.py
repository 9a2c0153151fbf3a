"""Signed links: they open one job, for a time, under one key."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import settings
from pipeline.errors import GoneError, UnknownError
from pipeline.jobs import links

JOB = "nomads-unsupervised_col_exp_z_0_24_y_0_48_x_0_48-0123456789ab"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    use(monkeypatch, "a key of many letters")
    yield
    settings.cache_clear()


def use(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("VOXELFOREST_SECRET_KEY", key)
    settings.cache_clear()


def soon() -> int:
    return int(time.time()) + 60


def test_a_link_opens_its_job() -> None:
    assert links.check(links.sign(JOB, soon())) == JOB


def test_a_link_does_not_hold_the_key() -> None:
    assert "letters" not in links.link_to(JOB).url


def test_a_link_ends() -> None:
    with pytest.raises(GoneError, match="time of this link is over"):
        links.check(links.sign(JOB, int(time.time()) - 1))


def test_a_link_of_another_key_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    key = links.sign(JOB, soon())
    use(monkeypatch, "another key of many letters")
    with pytest.raises(UnknownError):
        links.check(key)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_no_part_of_a_link_can_be_changed(part: int) -> None:
    parts = links.sign(JOB, soon()).split(".")
    parts[part] = {0: JOB[:-1] + "c", 1: str(soon() + 1000), 2: "A" * 43}[part]
    with pytest.raises(UnknownError):
        links.check(".".join(parts))


@given(st.text(max_size=80))
def test_junk_opens_nothing(text: str) -> None:
    with pytest.raises(UnknownError):
        links.check(text)


def test_without_a_key_there_are_links_to_the_page_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    key = links.sign(JOB, soon())
    monkeypatch.delenv("VOXELFOREST_SECRET_KEY")
    monkeypatch.setenv("VOXELFOREST_PUBLIC_URL", "https://lab.example/")
    settings.cache_clear()
    assert links.link_to(JOB) == links.Link(f"https://lab.example/jobs/{JOB}", None)
    with pytest.raises(UnknownError, match="VOXELFOREST_SECRET_KEY"):
        links.check(key)
