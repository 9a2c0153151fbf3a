"""The jobs, and what people do to them: ask for one, look, cancel, start again. What runners do is in `claims`."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Collection, Iterator

from pydantic import SecretStr

from pipeline.config import settings
from pipeline.errors import BusyError, ConflictError
from pipeline.jobs import outbox
from pipeline.jobs.database import COLUMNS, Database, read_events, unknown_job
from pipeline.jobs.job import ACTIVE, CANCELLED, DONE, ENDED, FAILED, NEEDS_TOKEN, QUEUED, Event, Job
from pipeline.jobs.request import Submission
from pipeline.jobs.results import results_of

BUSY_SECONDS = 60.0  # after which it is worth while to ask a full queue again


class JobStore(Database):
    """The jobs of a data folder; used by any number of processes and threads at once."""

    def create(self, submission: Submission) -> tuple[Job, bool]:
        """The job for a request: the one that there is, else a new one; the person is added to those who are told.

        Returns
        -------
        Job
        bool
            Whether it is new.

        Raises
        ------
        BusyError
            If too many jobs wait.
        WriteError
            If it cannot be kept.
        """
        now, lost = time.time(), self._is_lost(submission.digest)
        with self._kept(submission.token) as secret, self.transaction() as connection:
            row = connection.execute("SELECT id FROM jobs WHERE digest = ?", (submission.digest,)).fetchone()
            if row is None:
                _refuse_if_full(connection)
                self._insert(connection, submission, secret, now)
                job_id = submission.id
            else:
                (job_id,) = row
            told = _add_person(connection, job_id, submission.email, now)
            job = self.read_job(connection, job_id)
            if row is not None:
                job = self._join(connection, job, submission, secret, told=told, lost=lost)
            return job, row is None

    def get(self, job: str) -> Job:
        """A job.

        Raises
        ------
        UnknownError
            If there is none of this id.
        """
        if not self.exists:
            raise unknown_job(job)
        with self.connect() as connection:
            return self.read_job(connection, job)

    def find(self, beginning: str) -> tuple[str, ...]:
        """Ids that are this text, or else begin with it."""
        if not self.exists:
            return ()
        with self.connect() as connection:
            rows = connection.execute(
                "SELECT id FROM jobs WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id = ?1 DESC, id", (beginning,)
            ).fetchall()
        ids = tuple(job for (job,) in rows)
        return ids[:1] if ids[:1] == (beginning,) else ids

    def list(self, states: Collection[str] = (), *, limit: int = 100, before: float | None = None) -> tuple[Job, ...]:
        """Jobs, the newest first.

        Parameters
        ----------
        states : collection of str
            Those in one of these states; all by default.
        limit : int
            So many at most.
        before : float, optional
            Made before this time, seconds since 1970: to go on with a list.
        """
        if not self.exists:
            return ()
        marks = ", ".join("?" * len(states))
        where = f"state IN ({marks})" if states else "1"
        with self.connect() as connection:
            rows = connection.execute(
                f"SELECT {COLUMNS} FROM jobs WHERE {where} AND created < ? ORDER BY created DESC, number DESC LIMIT ?",
                (*states, float("inf") if before is None else before, limit),
            ).fetchall()
            return tuple(self.job_of(connection, row) for row in rows)

    def events(self, job: str, after: int = 0, limit: int = 1000) -> tuple[Event, ...]:
        """What happened to a job after the event of a number, oldest first."""
        if not self.exists:
            return ()
        with self.connect() as connection:
            return read_events(connection, job, after, limit)

    def cancel(self, job: str) -> Job:
        """Cancel a job: at once where it waits; where it is computed, as soon as its runner notices.

        Raises
        ------
        ConflictError
            If it has ended.
        """
        with self.transaction() as connection:
            found, secret = self.read_job(connection, job), _secret_of(connection, job)
            if found.finished:
                raise ConflictError(f"job {job} is {found.state} already; nothing is left to cancel", code="ended")
            now = time.time()
            if found.state in ACTIVE:
                connection.execute("UPDATE jobs SET cancel_asked = 1, updated = ? WHERE id = ?", (now, job))
            else:
                end = "state = ?, ended = ?, updated = ?, secret = NULL, reason = NULL"
                connection.execute(f"UPDATE jobs SET {end} WHERE id = ?", (CANCELLED, now, now, job))
            left = self.read_job(connection, job)
        if left.finished:
            self.vault.erase(secret)
        return left

    def retry(self, job: str, token: SecretStr | None = None) -> Job:
        """Start a job again that failed or was cancelled, or go on with one that needs a token.

        Parameters
        ----------
        job : str
        token : SecretStr, optional
            Without it, a job that came with a token waits for one.

        Raises
        ------
        ConflictError
            If it waits, is computed or is done.
        """
        with self._kept(token) as secret, self.transaction() as connection:
            found = self.read_job(connection, job)
            if found.state not in (FAILED, CANCELLED, NEEDS_TOKEN):
                raise ConflictError(f"job {job} is {found.state}; there is nothing to start again", code="started")
            (own,) = connection.execute("SELECT own_token FROM jobs WHERE id = ?", (job,)).fetchone()
            return self._start_again(connection, found, secret, own=bool(own) or secret is not None)

    def secrets(self) -> frozenset[str]:
        """Names of the tokens that jobs still need."""
        if not self.exists:
            return frozenset()
        with self.connect() as connection:
            return frozenset(name for (name,) in connection.execute("SELECT secret FROM jobs WHERE secret NOTNULL"))

    @contextlib.contextmanager
    def _kept(self, token: SecretStr | None) -> Iterator[str | None]:
        """The name of a token, which is kept before the job is visible, and erased if no job takes it."""
        secret = self.vault.keep(token) if token is not None else None
        try:
            yield secret
        finally:
            if secret is not None and secret not in self.secrets():
                self.vault.erase(secret)

    def _is_lost(self, digest: str) -> bool:
        """Whether a job is done whose results were removed; asked before any transaction, since a bucket takes time."""
        if not self.exists:
            return False
        with self.connect() as connection:
            row = connection.execute("SELECT id FROM jobs WHERE digest = ? AND state = ?", (digest, DONE)).fetchone()
            job = self.read_job(connection, row[0]) if row is not None else None
        return job is not None and not results_of(job).exists()

    def _insert(self, connection: sqlite3.Connection, submission: Submission, secret: str | None, now: float) -> None:
        request, job = submission.request, submission.id
        connection.execute(
            "INSERT INTO jobs (id, key, digest, channel, request, voxel_bytes, created, updated, due, own_token, "
            "secret) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                job,
                request.key,
                submission.digest,
                _choose_channel(connection, submission),
                request.to_json(),
                submission.estimate.bytes // max(submission.estimate.voxels, 1),
                now,
                now,
                now,
                submission.token is not None,
                secret,
            ),
        )

    def _join(
        self,
        connection: sqlite3.Connection,
        job: Job,
        submission: Submission,
        secret: str | None,
        *,
        told: bool,
        lost: bool,
    ) -> Job:
        """What becomes of a job that somebody asks for again."""
        gone = lost and job.state == DONE
        if job.state in (FAILED, CANCELLED) or gone or (job.state == NEEDS_TOKEN and secret is not None):
            return self._start_again(connection, job, secret, own=submission.token is not None)
        if job.state == DONE and told and submission.email is not None:
            outbox.queue(connection, job, DONE, (submission.email,))
        return job

    def _start_again(self, connection: sqlite3.Connection, job: Job, secret: str | None, *, own: bool) -> Job:
        """Queue a job again; one with a token of its own waits for that if it is not given."""
        now, waits = time.time(), own and secret is None
        if waits and job.state == NEEDS_TOKEN:
            raise ConflictError(f"job {job.id} needs a token to go on", code="token")
        _refuse_if_full(connection)
        connection.execute(
            "UPDATE jobs SET state = ?, reason = ?, own_token = ?, secret = ?, due = ?, updated = ?, ended = NULL, "
            "started = NULL, faults = 0, deaths = 0, cancel_asked = 0, results = '{}', runs = runs + ? WHERE id = ?",
            (
                NEEDS_TOKEN if waits else QUEUED,
                "it is started again, and its token was erased" if waits else None,
                own,
                secret,
                now,
                now,
                job.state in ENDED,
                job.id,
            ),
        )
        connection.execute("DELETE FROM events WHERE job = ? AND kind = 'stage'", (job.id,))
        return self.read_job(connection, job.id)


def _secret_of(connection: sqlite3.Connection, job: str) -> str | None:
    """Name of the token of a job."""
    (secret,) = connection.execute("SELECT secret FROM jobs WHERE id = ?", (job,)).fetchone()
    return secret


def _refuse_if_full(connection: sqlite3.Connection) -> None:
    limit = settings().job_queue
    (waiting,) = connection.execute("SELECT count(*) FROM jobs WHERE state IN (?, ?)", (QUEUED, NEEDS_TOKEN)).fetchone()
    if waiting >= limit:
        raise BusyError(f"{waiting} jobs wait already, {limit} may: ask again later", retry_after=BUSY_SECONDS)


def _add_person(connection: sqlite3.Connection, job: str, address: str | None, now: float) -> bool:
    """Whether the person was not among those who are told."""
    if address is None:
        return False
    return connection.execute("INSERT OR IGNORE INTO people VALUES (?, ?, ?)", (job, address, now)).rowcount == 1


def _choose_channel(connection: sqlite3.Connection, submission: Submission) -> str:
    """The key, or, where that has been another job's, the id; also after that job was removed: its channel is there."""
    key = submission.request.key
    connection.execute("INSERT OR IGNORE INTO channels VALUES (?, ?)", (key, submission.digest))
    (owner,) = connection.execute("SELECT digest FROM channels WHERE name = ?", (key,)).fetchone()
    return key if owner == submission.digest else submission.id
