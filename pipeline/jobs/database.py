"""The jobs' SQLite file: connections, transactions, and rows as jobs and events.

Every transaction is on the disk before anybody sees it (write-ahead log, synchronous), so whoever is killed and
whenever the power goes, a state that was shown stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.config import settings
from pipeline.durability import make_folder
from pipeline.errors import StoreError, UnknownError, WriteError
from pipeline.jobs.fields import shorten
from pipeline.jobs.job import Event, Job, StageProgress
from pipeline.jobs.request import JobRequest
from pipeline.jobs.schema import make_tables
from pipeline.jobs.secrets import TokenVault

FILE_NAME = "jobs.sqlite3"
FOLDER = "jobs"
SECRETS = "job-secrets"
WAIT_SECONDS = 30.0  # for another process that writes
NO_ROOM = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN)
COLUMNS = (
    "id, key, digest, channel, request, state, created, updated, started, ended, runs, event, cancel_asked, reason, "
    "results, voxel_bytes"
)


class Database:
    """The file; nothing is opened or made before it is used.

    Parameters
    ----------
    path : Path, optional
        Of the file; results and tokens lie in folders beside it. By default in the data folder.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or settings().data_dir / FILE_NAME
        self.folder = self.path.parent / FOLDER
        self.vault = TokenVault(self.path.parent / SECRETS)

    @property
    def exists(self) -> bool:
        """Whether there ever was a job."""
        return self.path.exists()

    @contextlib.contextmanager
    def connect(self) -> Iterator[sqlite3.Connection]:
        """A connection in autocommit; the file and its tables are made where they are missing.

        Raises
        ------
        WriteError
            If the file cannot be used, or the disk is full; reading goes on then.
        StoreError
            If the file is damaged, or was made by another version.
        """
        try:
            make_folder(self.path.parent)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))  # it holds people's addresses
            with contextlib.closing(self._open()) as connection:
                make_tables(connection)
                yield connection
        except (OSError, sqlite3.OperationalError) as error:
            hint = "; is its disk full?" if "disk" in str(error) else ""
            raise WriteError(f"{self.path}: jobs cannot be kept: {error}{hint}") from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise StoreError(
                f"{self.path} is damaged, or no file of jobs: {error}; restore it, or move it away"
            ) from error

    def _open(self) -> sqlite3.Connection:
        """The file; where the disk has no room for the log's index, that is kept in memory.

        So jobs can be looked at while the disk is full. Whoever keeps the index in memory has the file alone, which
        it can have: where another process had it open, the index would be on the disk.
        """
        try:
            return _connect(self.path, "NORMAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in NO_ROOM:
                raise
            return _connect(self.path, "EXCLUSIVE")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that writes: committed at the end, taken back on an exception."""
        with self.connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # after a full disk SQLite has taken it back itself
                    connection.execute("ROLLBACK")
                raise

    def read_job(self, connection: sqlite3.Connection, job: str) -> Job:
        """A job as it is now.

        Raises
        ------
        UnknownError
            If there is none of this id.
        """
        row = connection.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (job,)).fetchone()
        if row is None:
            raise unknown_job(job)
        return self.job_of(connection, row)

    def job_of(self, connection: sqlite3.Connection, row: tuple[Any, ...]) -> Job:
        """A job from its row."""
        values = dict(zip(COLUMNS.split(", "), row, strict=True))
        people = connection.execute("SELECT address FROM people WHERE job = ? ORDER BY since, address", (row[0],))
        return Job(
            **{
                **values,
                "request": JobRequest.from_json(values["request"]),
                "results": json.loads(values["results"]),
                "cancel_asked": bool(values["cancel_asked"]),
                "people": tuple(address for (address,) in people),
                "stages": _stages(connection, row[0]),
                "folder": self.folder / row[0],
            }
        )


def _connect(path: Path, locking: str) -> sqlite3.Connection:
    """A connection in autocommit to a file with a write-ahead log."""
    connection = sqlite3.connect(path, WAIT_SECONDS, isolation_level=None)
    try:
        for pragma in (f"locking_mode = {locking}", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def unknown_job(job: str) -> UnknownError:
    """The error where there is no job of an id."""
    return UnknownError(f"there is no job {shorten(job)}; it may have been removed after its time", code="job")


def tell(connection: sqlite3.Connection, job: str, time: float, kind: str, document: dict[str, Any]) -> None:
    """Add an event; one of a stage takes the place of the one before it."""
    stage = document["name"] if kind == "stage" else None
    if stage is not None:
        connection.execute("DELETE FROM events WHERE job = ? AND stage = ?", (job, stage))
    row = job, time, kind, stage, json.dumps(document)
    connection.execute("INSERT INTO events (job, time, kind, stage, document) VALUES (?, ?, ?, ?, ?)", row)


def read_events(connection: sqlite3.Connection, job: str, after: int, limit: int) -> tuple[Event, ...]:
    """Events of a job with a higher number than `after`, oldest first."""
    rows = connection.execute(
        "SELECT number, job, time, kind, document FROM events WHERE job = ? AND number > ? ORDER BY number LIMIT ?",
        (job, after, limit),
    )
    return tuple(Event(number, job, at, kind, json.loads(text)) for number, job, at, kind, text in rows)


def _stages(connection: sqlite3.Connection, job: str) -> tuple[StageProgress, ...]:
    rows = connection.execute("SELECT document FROM events WHERE job = ? AND kind = 'stage'", (job,))
    documents = sorted((json.loads(document) for (document,) in rows), key=lambda document: document["since"])
    return tuple(StageProgress(**{k: v for k, v in document.items() if k != "since"}) for document in documents)
