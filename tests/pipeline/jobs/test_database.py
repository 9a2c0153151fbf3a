"""The jobs' file: who may read it, what a full disk leaves possible, what is taken back, what is no such file."""

from __future__ import annotations

import contextlib
import resource
import shutil
import sqlite3
import stat
from collections.abc import Iterator

import pytest

from pipeline.errors import StoreError, WriteError
from pipeline.jobs.database import tell
from pipeline.jobs.store import JobStore
from tests.job_service import make_submission


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can be written to, as where no byte is left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_jobs_are_shown_while_the_disk_is_full(store: JobStore) -> None:
    job, _ = store.create(make_submission())
    assert not store.path.with_name(f"{store.path.name}-shm").exists()
    with full_disk():
        with pytest.raises(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(store.path)) as plain:
            plain.execute("SELECT * FROM jobs").fetchall()
        assert store.list() == (job,)
        assert store.get(job.id) == job
        assert store.find("bright") == (job.id,)
        assert [event.kind for event in store.events(job.id)] == ["state"]
        with pytest.raises(WriteError, match="disk"):
            store.cancel(job.id)
    assert store.cancel(job.id).state == "cancelled"


def test_log_that_a_killed_process_left_is_read_while_the_disk_is_full(store: JobStore) -> None:
    first, _ = store.create(make_submission(1))
    with store.connect():
        second, _ = store.create(make_submission(2))
        left = store.path.with_name("left.sqlite3")
        for ending in ("", "-wal"):  # what a kill leaves, but for the index
            shutil.copy(f"{store.path}{ending}", f"{left}{ending}")
    with full_disk():
        assert [job.id for job in JobStore(left).list()] == [second.id, first.id]


def test_file_is_for_its_owner_alone(store: JobStore) -> None:
    store.create(make_submission())
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_transaction_is_taken_back_on_an_exception(store: JobStore) -> None:
    job, _ = store.create(make_submission())
    with contextlib.suppress(KeyboardInterrupt), store.transaction() as connection:
        tell(connection, job.id, 1.0, "note", {"text": "never"})
        raise KeyboardInterrupt
    assert [event.kind for event in store.events(job.id)] == ["state"]


def test_events_of_a_stage_replace_each_other_under_rising_numbers(store: JobStore) -> None:
    job, _ = store.create(make_submission())
    numbers = []
    for done in range(3):
        with store.transaction() as connection:
            tell(connection, job.id, 1.0, "stage", {"name": "find", "blocks": 3, "blocks_done": done, "since": 0.0})
        (event,) = [event for event in store.events(job.id) if event.kind == "stage"]
        assert event.document["blocks_done"] == done
        numbers.append(event.number)
    assert numbers == sorted(set(numbers))


def test_file_of_something_else_is_named(store: JobStore) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(b"something else entirely, and long enough to be looked at as a page" * 100)
    with pytest.raises(StoreError, match="no file of jobs"):
        store.list()


def test_database_cut_short_is_an_error_in_a_line(store: JobStore) -> None:
    store.create(make_submission())
    store.path.write_bytes(store.path.read_bytes()[:4096])
    with pytest.raises((StoreError, WriteError)) as caught:
        store.list()
    assert "\n" not in str(caught.value)
