"""What the database itself refuses, and files of other versions."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3

import pytest

from pipeline.errors import StoreError
from pipeline.jobs.job import STATES, TRANSITIONS
from pipeline.jobs.schema import VERSION
from pipeline.jobs.store import JobStore
from tests.job_service import make_submission


def plain(store: JobStore) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(store.path, isolation_level=None))


def move(connection: sqlite3.Connection, before: str, after: str) -> None:
    """Give the only job a state, all else that belongs to one being set."""
    active, ended = ("running", "pushing"), ("done", "failed", "cancelled")
    for state in (before, after):
        connection.execute(
            "UPDATE jobs SET state = ?, lease = ?, runner = ?, ended = ?, reason = '', secret = NULL, fence = fence+1",
            (
                state,
                1.0 if state in active else None,
                "me" if state in active else None,
                1.0 if state in ended else None,
            ),
        )


def test_every_transition_but_the_listed_is_refused(store: JobStore) -> None:
    store.create(make_submission())
    with plain(store) as connection:
        (trigger,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'transitions_are_legal'").fetchone()
        for before, after in itertools.permutations(STATES, 2):
            connection.execute("BEGIN")
            connection.execute("DROP TRIGGER transitions_are_legal")
            move(connection, before, before)
            connection.execute(trigger)
            if (before, after) in TRANSITIONS:
                move(connection, before, after)
            else:
                with pytest.raises(sqlite3.IntegrityError, match="no such transition"):
                    move(connection, before, after)
            connection.execute("ROLLBACK")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("fence = fence - 1", "never falls"),
        ("id = 'another'", "does not change"),
        ("request = '{}'", "does not change"),
        ("state = 'running'", "CHECK"),  # without a lease
        ("state = 'cancelled'", "CHECK"),  # without its time
        ("secret = 'x', own_token = 0", "CHECK"),
        ("state = 'cancelled', ended = 1.0, secret = 'x'", "CHECK"),
        ("state = 'somewhere'", "transition|CHECK"),
    ],
)
def test_change_that_must_not_be_is_refused(store: JobStore, change: str, said: str) -> None:
    job, _ = store.create(make_submission())
    with plain(store) as connection, pytest.raises(sqlite3.IntegrityError, match=said):
        connection.execute(f"UPDATE jobs SET {change}")
    assert store.get(job.id) == job


def test_another_runner_has_to_raise_the_fence(store: JobStore) -> None:
    store.create(make_submission())
    with plain(store) as connection:
        connection.execute("UPDATE jobs SET state = 'running', runner = 'a', lease = 1.0, fence = 1")
        with pytest.raises(sqlite3.IntegrityError, match="raises the fence"):
            connection.execute("UPDATE jobs SET runner = 'b'")


def test_each_transition_is_an_event(store: JobStore) -> None:
    job, _ = store.create(make_submission())
    store.cancel(job.id)
    states = [event.document["state"] for event in store.events(job.id)]
    assert states == ["queued", "cancelled"]
    assert store.get(job.id).event == store.events(job.id)[-1].number


def test_file_of_the_version_before_is_brought_up_to_this_one(store: JobStore) -> None:
    job, _ = store.create(make_submission())
    with plain(store) as connection:
        connection.executescript("DROP TABLE links; PRAGMA user_version = 1")
    assert store.get(job.id) == job
    with plain(store) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert connection.execute("SELECT count(*) FROM links").fetchone() == (0,)


def test_file_of_a_later_version_is_left_alone(store: JobStore) -> None:
    store.create(make_submission())
    with plain(store) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StoreError, match=f"version {VERSION + 1}"):
        store.list()
