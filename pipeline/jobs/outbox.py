"""Mails that are to be sent, in the database of the jobs: a row for each outcome and person.

A row is written in the transaction that makes the outcome, so there is one for each outcome whatever is killed. It
holds what the mail will say, since the job may have been started again by the time that it goes out, and the
Message-ID: should a mail go out twice, because the kill fell between the server's "250" and the note of it here, both
carry the same, and mail programs show one.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.jobs.job import Job

OUTCOMES = ("done", "failed", "needs token")
FIRST_WAIT = 5.0  # seconds after a first failure; three times as long after each further one
LONGEST_WAIT = 3600.0  # seconds
LONGEST_REASON = 300  # characters

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY,
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    event INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    recipient TEXT NOT NULL,
    message_id TEXT NOT NULL UNIQUE,
    facts TEXT NOT NULL,
    queued REAL NOT NULL,
    due REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    sent REAL,
    reason TEXT,
    UNIQUE (job, event, recipient)
);
CREATE INDEX IF NOT EXISTS outbox_due ON outbox (due) WHERE due IS NOT NULL;
"""
COLUMNS = "number, job, event, outcome, recipient, message_id, facts, queued, due, attempts, sent, reason"


@dataclass(frozen=True)
class Mail:
    """A row.

    Parameters
    ----------
    event : int
        Number of the event that reached the outcome.
    facts : mapping
        What the mail says.
    queued, due, sent : float
        Seconds since 1970; `due` is None when nothing is left to do, `sent` until the server has taken the mail.
    reason : str, optional
        Why the last attempt failed.
    """

    number: int
    job: str
    event: int
    outcome: str
    recipient: str
    message_id: str
    facts: Mapping[str, Any]
    queued: float
    due: float | None
    attempts: int
    sent: float | None
    reason: str | None

    @property
    def state(self) -> str:
        """waiting, sent or given up."""
        if self.sent is not None:
            return "sent"
        return "waiting" if self.due is not None else "given up"


def queue(connection: sqlite3.Connection, job: Job, outcome: str, recipients: Iterable[str] | None = None) -> None:
    """Write a row for each person, inside the transaction of the caller; a person is told once of an event.

    Parameters
    ----------
    job : Job
        As it is after the transition.
    outcome : str
        One of `OUTCOMES`.
    recipients : iterable of str, optional
        Addresses; by default all who are to be told of the job.
    """
    assert outcome in OUTCOMES
    facts, now = json.dumps(_collect_facts(job)), time.time()
    people = dict.fromkeys(job.people if recipients is None else recipients)
    connection.executemany(
        "INSERT OR IGNORE INTO outbox (job, event, outcome, recipient, message_id, facts, queued, due) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(job.id, job.event, outcome, to, f"<{uuid.uuid4().hex}@voxelforest>", facts, now, now) for to in people],
    )


def _collect_facts(job: Job) -> dict[str, Any]:
    """What a mail about the present state of a job says; no secret is among it."""
    request = job.request
    began, ended = job.started, job.ended
    return {
        "key": job.key,
        "pipeline": request.pipeline,
        "collection": request.collection,
        "experiment": request.experiment,
        "ranges": {axis: list(getattr(request, axis)) for axis in "zyx"},
        "reason": job.reason,
        "objects": job.results.get("objects"),
        "pushed": sorted(job.results.get("pushed", {})),
        "seconds": None if began is None or ended is None else ended - began,
    }


def take_due(connection: sqlite3.Connection, now: float) -> Mail | None:
    """The mail that has been due longest, None if none is.

    Its next attempt is set before it is handed out: whatever becomes of this one, the next is not at once.
    """
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        row = connection.execute(f"SELECT {COLUMNS} FROM outbox WHERE due <= ? ORDER BY due LIMIT 1", (now,)).fetchone()
        if row is None:
            return None
        mail = _read(row)
        wait = min(FIRST_WAIT * 3**mail.attempts, LONGEST_WAIT)
        connection.execute(
            "UPDATE outbox SET attempts = attempts + 1, due = ? WHERE number = ?", (now + wait, mail.number)
        )
    return mail


def note_sent(connection: sqlite3.Connection, mail: Mail, now: float) -> None:
    """The server has taken a mail."""
    connection.execute("UPDATE outbox SET sent = ?, due = NULL, reason = NULL WHERE number = ?", (now, mail.number))


def note_failure(connection: sqlite3.Connection, mail: Mail, reason: str, *, final: bool) -> None:
    """An attempt failed; after a final one there is no other."""
    connection.execute(
        "UPDATE outbox SET reason = ?, due = iif(?, NULL, due) WHERE number = ?",
        (reason[:LONGEST_REASON], final, mail.number),
    )


def mails_of(connection: sqlite3.Connection, job: str) -> tuple[Mail, ...]:
    """The mails about a job, oldest first."""
    rows = connection.execute(f"SELECT {COLUMNS} FROM outbox WHERE job = ? ORDER BY number", (job,))
    return tuple(_read(row) for row in rows)


def _read(row: tuple[Any, ...]) -> Mail:
    values = dict(zip(COLUMNS.split(", "), row, strict=True))
    return Mail(**{**values, "facts": json.loads(values["facts"])})
