"""The jobs' store: one job for equal requests, its states, and what the database itself refuses."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pydantic import SecretStr

from pipeline.errors import BusyError, ConflictError, StoreError, UnknownError, WriteError
from pipeline.jobs import outbox
from pipeline.jobs.claims import take
from pipeline.jobs.job import CANCELLED, DONE, FAILED, NEEDS_TOKEN, QUEUED, RUNNING, STATES, TRANSITIONS
from pipeline.jobs.store import JobStore
from tests.job_service import TOKEN, make_submission


def end(store: JobStore, state: str) -> str:
    """A job that has come to this state; its id."""
    job, _ = store.create(make_submission())
    claim = take(store, "r")
    assert claim is not None
    if state == DONE:
        claim.job.folder.mkdir(parents=True)
        claim.finish({"objects": 1})
    elif state == FAILED:
        claim.fail("it was to fail")
    elif state == NEEDS_TOKEN:
        claim.wait_for_token("the token is gone")
    elif state == CANCELLED:
        store.cancel(job.id)
        claim.cancel()
    assert store.get(job.id).state == state
    return job.id


def test_looking_makes_nothing(store: JobStore) -> None:
    assert store.list() == ()
    assert store.find("x") == ()
    assert store.events("x") == ()
    with pytest.raises(UnknownError, match="there is no job 'x'"):
        store.get("x")
    assert not store.path.parent.exists()


def test_file_is_for_this_user_alone(store: JobStore) -> None:
    store.create(make_submission())
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_same_request_is_one_job_and_all_are_told(store: JobStore) -> None:
    first, new = store.create(make_submission())
    second, again = store.create(make_submission(email="bob@lab.example"))
    store.create(make_submission())
    assert (new, again) == (True, False)
    assert second.id == first.id
    assert store.get(first.id).people == ("ada@lab.example", "bob@lab.example")
    assert len(store.list()) == 1
    assert len(store.secrets()) == len(list((store.path.parent / "job-secrets").iterdir())) == 1


def test_same_request_from_many_at_once_is_one_job(store: JobStore) -> None:
    people = [f"p{i}@lab.example" for i in range(12)]
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda email: store.create(make_submission(email=email)), people))
    assert sum(new for _, new in made) == 1
    assert sorted(store.get(made[0][0].id).people) == sorted(people)
    assert len(list((store.path.parent / "job-secrets").iterdir())) == 1


def test_one_more_asks_for_what_is_done_and_is_told_at_once(store: JobStore) -> None:
    job = end(store, DONE)
    for _ in range(2):
        found, _ = store.create(make_submission(email="bob@lab.example"))
        assert found.state == DONE
        with store.connect() as connection:
            told = [mail.recipient for mail in outbox.mails_of(connection, job)]
        assert sorted(told) == ["ada@lab.example", "bob@lab.example"]
    assert store.secrets() == frozenset()


def test_results_that_were_removed_by_hand_are_made_again(store: JobStore) -> None:
    job = end(store, DONE)
    store.get(job).folder.rmdir()
    assert store.create(make_submission())[0].state == QUEUED


@pytest.mark.parametrize("state", [FAILED, CANCELLED, NEEDS_TOKEN])
def test_asking_again_starts_what_failed_and_gives_the_token(store: JobStore, state: str) -> None:
    job = end(store, state)
    found, new = store.create(make_submission())
    assert (found.id, found.state, found.reason, new) == (job, QUEUED, None, False)
    assert found.runs == (1 if state == NEEDS_TOKEN else 2)
    assert len(store.secrets()) == 1


def test_retry_without_the_token_waits_for_it(store: JobStore) -> None:
    job = end(store, FAILED)
    waiting = store.retry(job)
    assert (waiting.state, waiting.runs) == (NEEDS_TOKEN, 2)
    with pytest.raises(ConflictError, match="needs a token"):
        store.retry(job)
    token = make_submission().token
    assert store.retry(job, token).state == QUEUED
    with pytest.raises(ConflictError, match="is queued; there is nothing to start again"):
        store.retry(job, token)
    assert len(store.secrets()) == 1


def test_retry_of_a_job_of_the_runners_own_token_needs_none(store: JobStore) -> None:
    job, _ = store.create(make_submission(token=None))
    claim = take(store, "r")
    assert claim is not None
    claim.fail("it was to fail")
    assert store.retry(job.id).state == QUEUED


def test_waiting_job_is_cancelled_at_once_and_its_token_erased(store: JobStore) -> None:
    job, _ = store.create(make_submission())
    assert store.cancel(job.id).state == CANCELLED
    assert list((store.path.parent / "job-secrets").iterdir()) == []
    with pytest.raises(ConflictError, match="is cancelled already"):
        store.cancel(job.id)


def test_running_job_is_cancelled_by_its_runner(store: JobStore) -> None:
    job, _ = store.create(make_submission())
    claim = take(store, "r")
    assert claim is not None
    assert not claim.is_cancelled()
    assert not claim.renew()
    assert store.cancel(job.id).state == RUNNING
    assert store.get(job.id).cancel_asked
    assert claim.is_cancelled()
    assert claim.renew()


def test_no_more_jobs_wait_than_may(store: JobStore, set_up: Callable[..., None]) -> None:
    set_up(JOB_QUEUE=2)
    for number in range(2):
        store.create(make_submission(number))
    with pytest.raises(BusyError, match="2 jobs wait already") as caught:
        store.create(make_submission(2))
    assert caught.value.retry_after > 0
    assert len(store.secrets()) == len(list((store.path.parent / "job-secrets").iterdir())) == 2


def test_no_job_is_started_again_where_no_more_may_wait(store: JobStore, set_up: Callable[..., None]) -> None:
    failed = end(store, FAILED)
    set_up(JOB_QUEUE=1)
    store.create(make_submission(1))
    with pytest.raises(BusyError, match="1 jobs wait already"):
        store.retry(failed, SecretStr(TOKEN))
    assert store.get(failed).state == FAILED


def test_list_is_by_state_newest_first_and_goes_on(store: JobStore) -> None:
    jobs = [store.create(make_submission(number))[0] for number in range(4)]
    store.cancel(jobs[1].id)
    assert [job.id for job in store.list()] == [job.id for job in reversed(jobs)]
    assert [job.id for job in store.list((CANCELLED,))] == [jobs[1].id]
    page = store.list(limit=2)
    assert [job.id for job in store.list(before=page[-1].created)] == [jobs[1].id, jobs[0].id]
    assert store.find(jobs[3].id[:-3]) == (jobs[3].id,)


def test_two_requests_of_one_key_push_to_different_channels(store: JobStore) -> None:
    one, two = (store.create(replace(make_submission(), digest=letter * 64))[0] for letter in "ab")
    assert one.key == two.key == one.channel
    assert two.channel == two.id


def test_events_tell_each_transition_once(store: JobStore) -> None:
    job = end(store, DONE)
    events = store.events(job)
    assert [event.document["state"] for event in events if event.kind == "state"] == [QUEUED, RUNNING, DONE]
    assert store.get(job).event == events[-1].number
    assert store.events(job, after=events[-1].number) == ()


@pytest.mark.parametrize("before", STATES)
def test_database_refuses_every_other_transition(store: JobStore, before: str) -> None:
    """By way of SQL, past all of our own code."""
    job = store.create(make_submission())[0].id
    lease = "lease = 1.0, runner = 'r', fence = fence + 1"
    over = "lease = NULL, runner = NULL, secret = NULL"
    changes = {
        "running": lease,
        "pushing": lease,
        "queued": f"{over}, ended = NULL",
        "needs token": f"{over}, ended = NULL, reason = 'x'",
        **dict.fromkeys(("done", "failed", "cancelled"), f"{over}, ended = 1.0, reason = 'x'"),
    }
    way = {
        "queued": (),
        "running": ("running",),
        "pushing": ("running", "pushing"),
        "needs token": ("running", "needs token"),
        "done": ("running", "done"),
        "failed": ("running", "failed"),
        "cancelled": ("cancelled",),
    }[before]
    with store.connect() as connection:
        for state in way:
            connection.execute(f"UPDATE jobs SET state = ?, {changes[state]} WHERE id = ?", (state, job))
        for after in set(STATES) - {before} - {b for a, b in TRANSITIONS if a == before}:
            with pytest.raises(sqlite3.IntegrityError, match="no such transition"):
                connection.execute(f"UPDATE jobs SET state = ?, {changes[after]} WHERE id = ?", (after, job))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("digest = 'x'", "does not change"),
        ("state = 'running'", "CHECK"),
        ("state = 'done'", "no such transition"),
        ("lease = 1.0", "CHECK"),
        ("fence = fence - 1", "never falls"),
        ("state = 'running', lease = 1.0, runner = 'r'", "raises the fence"),
        ("own_token = 0", "CHECK"),
        ("state = 'asleep'", "no such transition"),
    ],
)
def test_database_refuses_what_must_never_be(store: JobStore, change: str, text: str) -> None:
    job = store.create(make_submission())[0].id
    with store.connect() as connection, pytest.raises(sqlite3.IntegrityError, match=text):
        connection.execute(f"UPDATE jobs SET {change} WHERE id = ?", (job,))


def test_other_version_is_not_touched(store: JobStore) -> None:
    store.create(make_submission())
    with store.connect() as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="version 99"):
        store.list()


def test_place_that_cannot_be_written_is_named(store: JobStore) -> None:
    store.path.parent.parent.mkdir(parents=True, exist_ok=True)
    store.path.parent.write_text("a file")
    with pytest.raises(WriteError, match="data"):
        store.create(make_submission())


def test_token_is_in_no_row(store: JobStore) -> None:
    end(store, FAILED)
    with store.connect() as connection:
        assert TOKEN not in "\n".join(connection.iterdump())
