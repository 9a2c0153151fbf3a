"""Signed links: they open one job, for a time, under one key, until they are withdrawn."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import settings
from pipeline.errors import GoneError, UnknownError
from pipeline.jobs import links
from pipeline.jobs.store import JobStore
from tests.job_service import make_submission

NAME = "0123456789ab"


@pytest.fixture
def store(set_up: Callable[..., None]) -> JobStore:
    """Jobs of a server with a key."""
    set_up(SECRET_KEY="a key of many letters", PUBLIC_URL="https://lab.example/")
    return JobStore()


@pytest.fixture
def job(store: JobStore) -> str:
    return store.create(make_submission())[0].id


def make(store: JobStore, job: str, mail: str | None = None) -> links.Link:
    with store.transaction() as connection:
        return links.make_link(connection, job, mail=mail)


def key_of(link: links.Link) -> str:
    return link.url.removeprefix("https://lab.example/shared/").rstrip("/")


def check(store: JobStore, key: str) -> str:
    with store.connect() as connection:
        return links.check(connection, key)


def test_a_link_opens_its_job(store: JobStore, job: str) -> None:
    link = make(store, job)
    assert check(store, key_of(link)) == job
    assert link.state == "open"
    assert "letters" not in link.url


def test_a_link_ends(store: JobStore, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    link = make(store, job)
    assert link.expires is not None
    assert link.expires == pytest.approx(time.time() + settings().link_days * 86_400, abs=60)
    monkeypatch.setattr(links.time, "time", lambda: link.expires + 1)
    with pytest.raises(GoneError, match="time of this link is over"):
        check(store, key_of(link))
    assert link.state == "over"


def test_a_link_is_withdrawn_by_itself_and_for_good(store: JobStore, job: str) -> None:
    first, second = make(store, job), make(store, job)
    assert first.name is not None
    for _ in range(2):
        with store.transaction() as connection:
            links.withdraw(connection, job, first.name)
    with pytest.raises(GoneError, match="withdrawn"):
        check(store, key_of(first))
    assert check(store, key_of(second)) == job
    with store.connect() as connection:
        found = {link.name: link for link in links.links_of(connection, job)}
    assert {name: link.state for name, link in found.items()} == {first.name: "withdrawn", second.name: "open"}
    assert found[second.name].url == second.url


def test_a_link_of_another_job_is_not_withdrawn(store: JobStore, job: str) -> None:
    link, other = make(store, job), store.create(make_submission(1))[0].id
    assert link.name is not None
    with pytest.raises(UnknownError), store.transaction() as connection:
        links.withdraw(connection, other, link.name)
    assert check(store, key_of(link)) == job


def test_a_mail_holds_the_same_link_however_often_it_is_sent(store: JobStore, job: str) -> None:
    first, again, other = (make(store, job, mail) for mail in ("<1@x>", "<1@x>", "<2@x>"))
    assert first.url == again.url != other.url


def test_a_signature_alone_opens_nothing(store: JobStore, job: str) -> None:
    with pytest.raises(UnknownError, match="removed"):
        check(store, links.sign(job, NAME, int(time.time()) + 60))


def test_a_link_of_another_key_opens_nothing(store: JobStore, job: str, set_up: Callable[..., None]) -> None:
    key = key_of(make(store, job))
    set_up(SECRET_KEY="another key of many letters")
    with pytest.raises(UnknownError):
        check(store, key)


@pytest.mark.parametrize("part", range(4))
def test_no_part_of_a_link_can_be_changed(store: JobStore, job: str, part: int) -> None:
    parts = key_of(make(store, job)).rsplit(".", 3)
    changed = (job[:-1] + "c", NAME, str(int(parts[2]) + 1000), "A" * 43)
    with pytest.raises(UnknownError, match="none of this server's"):
        check(store, ".".join([*parts[:part], changed[part], *parts[part + 1 :]]))


def test_junk_opens_nothing(store: JobStore) -> None:
    with store.connect() as connection:

        @given(st.text(max_size=80))
        def try_it(text: str) -> None:
            with pytest.raises(UnknownError):
                links.check(connection, text)

        try_it()


def test_without_a_key_there_are_links_to_the_page_alone(
    store: JobStore, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = key_of(make(store, job))
    monkeypatch.delenv("VOXELFOREST_SECRET_KEY")
    settings.cache_clear()
    assert make(store, job) == links.Link(f"https://lab.example/jobs/{job}", None)
    with store.connect() as connection:
        assert links.links_of(connection, job) == ()
    with pytest.raises(UnknownError, match="VOXELFOREST_SECRET_KEY"):
        check(store, key)
