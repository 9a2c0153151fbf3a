"""Sending what is in the outbox.

Nothing here can fail a job. What could not be sent is tried again, ever more rarely, until it is too old; the reason
stands in the outbox, where the page of the job shows it.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import settings
from pipeline.errors import PlanError
from pipeline.jobs import links, outbox
from pipeline.jobs.address import check_address
from pipeline.jobs.letter import write_letter
from pipeline.jobs.mail_server import Failure, MailServer, hand_over
from pipeline.jobs.outbox import Mail

if TYPE_CHECKING:
    from pipeline.jobs.store import JobStore

__all__ = ["check_address", "deliver_due", "delivering", "why_none_is_sent"]

LOG = logging.getLogger("pipeline.jobs")
POLL_SECONDS = 1.0  # between two looks into the outbox
STOP_SECONDS = 5.0  # for a mail that is on its way when the sending ends; a longer one goes out again
WAIT_SECONDS = 10.0  # for another process that writes to the database
DAY = 86400.0


def deliver_due(store: JobStore) -> int:
    """Send what is due, unless another process is at it; returns how many mails the server took.

    Parameters
    ----------
    store : JobStore
    """
    given, database = settings(), store.path
    if why_none_is_sent() is not None or not database.exists():
        return 0
    server = MailServer.configured(given)
    assert server is not None
    with _alone(database.with_name("outbox.lock")) as alone, contextlib.closing(_open(database)) as connection:
        return _deliver(connection, server, given.mail_days * DAY) if alone else 0


def why_none_is_sent() -> str | None:
    """Why this machine sends no mails at all, None if it does; the log says it once."""
    try:
        server = MailServer.configured(settings())
    except PlanError as error:
        return _tell_once(error.message)
    return None if server is not None else "no mail server is set up: VOXELFOREST_SMTP_HOST is not set"


@functools.cache
def _tell_once(reason: str) -> str:
    LOG.error("mails cannot be sent: %s", reason)
    return reason


def _deliver(connection: sqlite3.Connection, server: MailServer, patience: float) -> int:
    n_sent = 0
    while (mail := outbox.take_due(connection, time.time())) is not None:
        failure = _send(connection, server, mail)
        if failure is None:
            n_sent += 1
            continue
        final = failure.final or time.time() > mail.queued + patience
        LOG.warning("mail %s about job %s not sent: %s", mail.message_id, mail.job, failure.reason)
        outbox.note_failure(connection, mail, failure.reason, final=final)
        if failure.for_all:
            break
    return n_sent


def _send(connection: sqlite3.Connection, server: MailServer, mail: Mail) -> Failure | None:
    try:
        link = links.make_link(connection, mail.job, mail=mail.message_id)
        message = write_letter(mail, server.sender, link)
    except ValueError as error:  # a line break in a header
        return Failure(f"the mail cannot be written: {error}", final=True, for_all=False)
    return hand_over(server, message, mail.recipient, lambda: outbox.note_sent(connection, mail, time.time()))


@contextlib.contextmanager
def delivering(store: JobStore) -> Iterator[None]:
    """Send what is due while the context lasts, in a thread; one process of a machine does it at a time."""
    end = threading.Event()

    def work() -> None:
        while not end.is_set():
            try:
                deliver_due(store)
            except Exception:  # a full disk, a locked database: the mails wait
                LOG.exception("mails could not be sent; they wait")
            end.wait(POLL_SECONDS)

    thread = threading.Thread(target=work, name="mail", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(STOP_SECONDS)


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, WAIT_SECONDS, isolation_level=None)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether this thread may send; the system lets go of the lock of a process that dies."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)
