"""What is removed in time, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import UnknownError
from pipeline.jobs import retention
from pipeline.jobs.claims import take
from pipeline.jobs.job import Job
from pipeline.jobs.store import JobStore
from tests.job_service import make_submission


@pytest.fixture
def done(store: JobStore) -> Job:
    store.create(make_submission())
    claim = take(store, "r")
    assert claim is not None
    for ending in ("", ".partial"):
        folder = Path(f"{claim.job.folder}{ending}")
        folder.mkdir(parents=True)
        (folder / "table.csv").write_text("id\n")
    claim.finish({"objects": 1})
    return store.get(claim.job.id)


def later(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    now = retention.time.time()
    monkeypatch.setattr("pipeline.jobs.retention.time.time", lambda: now + days * retention.DAY)


def test_nothing_is_there_to_tidy(store: JobStore) -> None:
    assert retention.tidy(store) == 0
    assert not store.path.parent.exists()


def test_ended_jobs_go_after_their_time_with_all_that_is_theirs(
    store: JobStore, done: Job, monkeypatch: pytest.MonkeyPatch, set_up: Callable[..., None]
) -> None:
    set_up(JOB_DAYS=2)
    store.create(make_submission(1))
    later(monkeypatch, 1.9)
    assert retention.tidy(store) == 0
    assert done.folder.exists()
    later(monkeypatch, 0.2)
    assert retention.tidy(store) == 1
    with pytest.raises(UnknownError):
        store.get(done.id)
    assert list(store.folder.iterdir()) == []
    assert len(store.list()) == 1, "one that waits is not removed"
    with store.connect() as connection:
        assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM events WHERE job = ?", (done.id,)).fetchone() == (0,)


def test_zero_days_are_for_ever(
    store: JobStore, done: Job, monkeypatch: pytest.MonkeyPatch, set_up: Callable[..., None]
) -> None:
    set_up(JOB_DAYS=0)
    later(monkeypatch, 10_000)
    assert retention.tidy(store) == 0
    assert done.folder.exists()


def test_removal_that_was_killed_is_ended_by_the_next(store: JobStore, done: Job) -> None:
    left = store.folder / f"another{retention.REMOVED}"
    left.mkdir()
    (left / "file").write_text("x")
    retention.tidy(store)
    assert not left.exists()
    assert done.folder.exists()


def test_channel_of_a_removed_job_is_not_given_to_another_request(
    store: JobStore, done: Job, monkeypatch: pytest.MonkeyPatch, set_up: Callable[..., None]
) -> None:
    set_up(JOB_DAYS=1)
    later(monkeypatch, 2)
    assert retention.tidy(store) == 1
    again = store.create(make_submission())[0]
    other = store.create(replace(make_submission(), digest="f" * 64))[0]
    assert (again.channel, other.channel) == (done.channel, other.id)
