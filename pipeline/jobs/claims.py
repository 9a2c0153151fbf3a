"""What a runner does to jobs: take one, keep it, say how far it is, end it.

A runner holds a job under a lease that it renews. Where it falls silent, another one takes the job over and raises the
job's fence; whatever the first one still wants to record is refused then, since it brings the fence that it took the
job with. So a job has one outcome, however many runners believe that it is theirs.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config import settings
from pipeline.errors import SupersededError
from pipeline.jobs import outbox
from pipeline.jobs.database import tell
from pipeline.jobs.job import CANCELLED, DONE, FAILED, NEEDS_TOKEN, PUSHING, QUEUED, Job, StageProgress
from pipeline.jobs.store import JobStore

_ACTIVE = "state IN ('running', 'pushing')"
_TOLD = (DONE, FAILED, NEEDS_TOKEN)  # of these states people get a mail


@dataclass(frozen=True)
class Claim:
    """A job that a runner has.

    Parameters
    ----------
    store : JobStore
    job : Job
        As it was when it was taken.
    fence : int
    secret : str, optional
        Name of its token.
    own_token : bool
        Whether it came with a token; if not, the runner's own serves.
    voxel_bytes : int
        Bytes that are read for a voxel, all channels together.
    faults : int
        How often it was put back for a fault that may pass.
    """

    store: JobStore
    job: Job
    fence: int
    secret: str | None
    own_token: bool
    voxel_bytes: int
    faults: int

    def renew(self) -> bool:
        """Keep the job for another while; returns whether it is to be cancelled.

        Raises
        ------
        SupersededError
            If it is not this runner's any more.
        """
        now = time.time()
        with self.store.transaction() as connection:
            self._update(connection, "lease = ?", now + settings().job_lease_seconds)
            return self._is_cancelled(connection)

    def is_cancelled(self) -> bool:
        """Whether it is to be cancelled.

        Raises
        ------
        SupersededError
            If it is not this runner's any more.
        """
        with self.store.connect() as connection:
            return self._is_cancelled(connection)

    def begin_pushing(self, results: Mapping[str, Any]) -> None:
        """Everything is computed; from here on it is pushed.

        Raises
        ------
        SupersededError
            As all methods do that record something.
        """
        with self.store.transaction() as connection:
            self._update(connection, "results = ?", json.dumps(dict(results)))
            self._move(connection, PUSHING)

    def finish(self, results: Mapping[str, Any]) -> None:
        """It is done."""
        self._end(DONE, None, results)

    def fail(self, reason: str) -> None:
        """It cannot be done."""
        self._end(FAILED, reason)

    def cancel(self) -> None:
        """It was cancelled, and nothing works on it any more."""
        self._end(CANCELLED, None)

    def wait_for_token(self, reason: str) -> None:
        """It needs a token to go on."""
        self._leave("secret = NULL, state = ?, reason = ?", NEEDS_TOKEN, reason)
        self.store.vault.erase(self.secret)

    def put_back(self, reason: str | None, pause: float = 0.0) -> None:
        """Another attempt is due after a pause, by any runner; with a reason, it is a fault that counts."""
        changes = "due = ?, faults = faults + ?, state = ?, reason = ?"
        self._leave(changes, time.time() + pause, reason is not None, QUEUED, reason)

    def tell(self, kind: str, document: dict[str, Any]) -> None:
        """Add an event: a note, or what was computed."""
        with self.store.transaction() as connection:
            self._check(connection)
            tell(connection, self.job.id, time.time(), kind, document)

    def show(self, stage: StageProgress, since: float) -> None:
        """Say how far a stage is, that began at a time; a runner that finishes blocks is not one that keeps dying."""
        with self.store.transaction() as connection:
            self._check(connection)
            tell(connection, self.job.id, time.time(), "stage", {**asdict(stage), "since": since})
            if stage.blocks_done:
                connection.execute("UPDATE jobs SET deaths = 0 WHERE id = ? AND deaths > 0", (self.job.id,))

    def _leave(self, changes: str, *values: Any) -> None:
        """Let go of a job that has not ended, unless it is to be cancelled anyhow."""
        with self.store.transaction() as connection:
            cancelled = self._is_cancelled(connection)
            if not cancelled:
                self._update(connection, f"lease = NULL, runner = NULL, {changes}", *values)
                self._notify(connection)
        if cancelled:
            self.cancel()

    def _end(self, state: str, reason: str | None, results: Mapping[str, Any] | None = None) -> None:
        now = time.time()
        with self.store.transaction() as connection:
            if results is not None:
                self._update(connection, "results = ?", json.dumps(dict(results)))
            changes = "lease = NULL, runner = NULL, secret = NULL, cancel_asked = 0, ended = ?, state = ?, reason = ?"
            self._update(connection, changes, now, state, reason)
            self._notify(connection)
        self.store.vault.erase(self.secret)

    def _move(self, connection: sqlite3.Connection, state: str) -> None:
        self._update(connection, "state = ?", state)

    def _update(self, connection: sqlite3.Connection, changes: str, *values: Any) -> None:
        """Change the job, if it is still this runner's."""
        text = f"UPDATE jobs SET updated = ?, {changes} WHERE id = ? AND fence = ? AND {_ACTIVE}"
        if connection.execute(text, (time.time(), *values, self.job.id, self.fence)).rowcount != 1:
            raise self._superseded()

    def _check(self, connection: sqlite3.Connection) -> None:
        self._is_cancelled(connection)

    def _is_cancelled(self, connection: sqlite3.Connection) -> bool:
        text = f"SELECT cancel_asked FROM jobs WHERE id = ? AND fence = ? AND {_ACTIVE}"
        row = connection.execute(text, (self.job.id, self.fence)).fetchone()
        if row is None:
            raise self._superseded()
        return bool(row[0])

    def _superseded(self) -> SupersededError:
        return SupersededError(f"job {self.job.id} is not this runner's any more; what it found out does not count")

    def _notify(self, connection: sqlite3.Connection) -> None:
        job = self.store.read_job(connection, self.job.id)
        if job.state in _TOLD:
            outbox.queue(connection, job, job.state)


def take(store: JobStore, runner: str) -> Claim | None:
    """Take a job that may run: one whose runner fell silent, else the one that has waited longest.

    Parameters
    ----------
    store : JobStore
    runner : str
        Name of the one that takes it.

    Returns
    -------
    Claim
        None, if no job is there to be taken now.
    """
    if not store.exists:
        return None
    now = time.time()
    with store.transaction() as connection:
        unneeded = _end_abandoned(store, connection, now)
        row = _find(connection, now)
        claim = _take(store, connection, runner, now, *row) if row is not None else None
    for secret in unneeded:
        store.vault.erase(secret)
    return claim


def _take(store: JobStore, connection: sqlite3.Connection, runner: str, now: float, job: str, deaths: int) -> Claim:
    lease = now + settings().job_lease_seconds
    connection.execute(
        "UPDATE jobs SET runner = ?, lease = ?, fence = fence + 1, deaths = deaths + ?, updated = ?, "
        "started = ifnull(started, ?), reason = NULL, state = iif(state = 'queued', 'running', state) WHERE id = ?",
        (runner, lease, deaths, now, now, job),
    )
    if deaths:
        tell(connection, job, now, "note", {"text": "its runner fell silent: another one goes on with it"})
    columns = "fence, secret, own_token, voxel_bytes, faults"
    row = connection.execute(f"SELECT {columns} FROM jobs WHERE id = ?", (job,)).fetchone()
    fence, secret, own, size, faults = row
    return Claim(store, store.read_job(connection, job), fence, secret, bool(own), size, faults)


def let_go(store: JobStore, runner: str) -> None:
    """Let others take over the job of a runner that is known to have ended, before its lease does."""
    with store.transaction() as connection:
        connection.execute(f"UPDATE jobs SET lease = 0 WHERE runner = ? AND {_ACTIVE}", (runner,))


def is_work(store: JobStore) -> bool:
    """Whether `take` would find something to do now."""
    if not store.exists:
        return False
    with store.connect() as connection:
        return _find(connection, time.time()) is not None


def _find(connection: sqlite3.Connection, now: float) -> tuple[str, int] | None:
    """The job to be taken next, and whether its runner fell silent."""
    (active,) = connection.execute(f"SELECT count(*) FROM jobs WHERE {_ACTIVE} AND lease >= ?", (now,)).fetchone()
    if active >= settings().job_concurrency:
        return None
    silent = f"SELECT id, 1 FROM jobs WHERE {_ACTIVE} AND lease < ? ORDER BY lease LIMIT 1"
    waiting = "SELECT id, 0 FROM jobs WHERE state = ? AND due <= ? ORDER BY due, number LIMIT 1"
    found = connection.execute(silent, (now,)).fetchone() or connection.execute(waiting, (QUEUED, now)).fetchone()
    return None if found is None else (found[0], found[1])


def _end_abandoned(store: JobStore, connection: sqlite3.Connection, now: float) -> list[str | None]:
    """End the jobs of silent runners that were cancelled, or whose runners die again and again; their tokens' names."""
    limit = settings().job_attempts
    died = (
        f"the process that computed it died {limit} times without finishing a block; most often memory ran out: "
        "fewer workers, a smaller VOXELFOREST_TASK_MEMORY or smaller ranges help"
    )
    rows = connection.execute(
        f"SELECT id, secret, cancel_asked FROM jobs WHERE {_ACTIVE} AND lease < ? AND (cancel_asked OR deaths >= ?)",
        (now, limit - 1),
    ).fetchall()
    for job, _, cancelled in rows:
        state, reason = (CANCELLED, None) if cancelled else (FAILED, died)
        connection.execute(
            "UPDATE jobs SET lease = NULL, runner = NULL, secret = NULL, fence = fence + 1, cancel_asked = 0, "
            "ended = ?, updated = ?, state = ?, reason = ? WHERE id = ?",
            (now, now, state, reason, job),
        )
        if state == FAILED:
            outbox.queue(connection, store.read_job(connection, job), FAILED)
    return [secret for _, secret, _ in rows]
