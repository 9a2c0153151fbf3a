"""A file with an outbox, as the store of jobs has it, and settings in the environment."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import settings
from pipeline.jobs import mail, outbox
from pipeline.jobs.outbox import Mail
from tests.made_jobs import make_job


@dataclass(frozen=True)
class Outbox:
    """Stands for the store of jobs, of which mails use the file alone."""

    path: Path

    @contextlib.contextmanager
    def connect(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            yield connection

    def queue(self, outcome: str = "done", *recipients: str, event: int = 1, **changes: Any) -> None:
        job = make_job(outcome, event=event, **changes)
        with self.connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            outbox.queue(connection, job, outcome, recipients or None)
            connection.execute("COMMIT")

    def mails(self) -> tuple[Mail, ...]:
        with self.connect() as connection:
            return outbox.mails_of(connection, make_job().id)

    def hurry(self) -> None:
        """Make the next attempt due."""
        with self.connect() as connection:
            connection.execute("UPDATE outbox SET due = 0 WHERE due IS NOT NULL")

    def deliver(self) -> int:
        self.hurry()
        return mail.deliver_due(self)  # type: ignore[arg-type]


def configure(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
