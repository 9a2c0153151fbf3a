"""A real mail server with encryption and login, and an outbox whose settings lead to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import settings
from pipeline.jobs import links, outbox
from tests.mailbox import Mailbox, receiving
from tests.outbox_file import Outbox, configure


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailbox]:
    with receiving(tmp_path_factory.mktemp("mail")) as box:
        yield box


@pytest.fixture
def box(server: Mailbox) -> Mailbox:
    """The server, in a good mood and empty."""
    server.answers.clear()
    server.taken.clear()
    server.encrypted.clear()
    server.before_answer = lambda: None
    return server


@pytest.fixture
def store(tmp_path: Path, box: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    store = Outbox(tmp_path / "jobs.sqlite3")
    with store.connect() as connection:
        connection.executescript("PRAGMA journal_mode=WAL;" + outbox.SCHEMA + links.SCHEMA)
    configure(monkeypatch, box.environment())
    yield store
    settings.cache_clear()
