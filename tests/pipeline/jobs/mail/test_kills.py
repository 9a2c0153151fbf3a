"""A mail is sent at least once, and twice only if the kill fell between the server's 250 and the note."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from pipeline.jobs import mail
from tests.mailbox import Mailbox
from tests.outbox_file import Outbox

SEND = """
import sys
from pathlib import Path
from types import SimpleNamespace
from pipeline.jobs import mail
mail.deliver_due(SimpleNamespace(path=Path(sys.argv[1])))
"""


def _start_sending(store: Outbox) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SEND, str(store.path)], env=os.environ)


def test_a_kill_between_250_and_the_note_sends_again_with_the_same_id(store: Outbox, box: Mailbox) -> None:
    store.queue()
    holder = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    box.before_answer = lambda: (holder.execute("BEGIN IMMEDIATE"), None)[1]
    process = _start_sending(store)
    box.wait(1)
    time.sleep(0.3)  # for the 250
    process.send_signal(signal.SIGKILL)
    process.wait()
    holder.execute("ROLLBACK")
    holder.close()
    box.before_answer = lambda: None
    assert [row.state for row in store.mails()] == ["waiting"]
    assert mail.deliver_due(store) == 0  # type: ignore[arg-type]  # not at once
    assert store.deliver() == 1
    first, second = box.messages
    assert first["Message-ID"] == second["Message-ID"]
    assert store.deliver() == 0


def test_a_kill_before_250_loses_nothing(store: Outbox, box: Mailbox) -> None:
    store.queue()
    processes: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait()

    box.before_answer = kill
    processes.append(_start_sending(store))
    processes[0].wait()
    box.before_answer = lambda: None
    assert store.deliver() == 1
    assert len({message["Message-ID"] for message in box.messages}) == 1


def test_two_that_send_at_once_send_each_mail_once(store: Outbox, box: Mailbox) -> None:
    store.queue("done", *(f"p{n}@lab.example" for n in range(12)))
    box.before_answer = lambda: time.sleep(0.02)
    processes = [_start_sending(store) for _ in range(3)]
    for process in processes:
        process.wait()
    store.deliver()
    assert sorted(to for _, [to], _ in box.taken) == sorted(f"p{n}@lab.example" for n in range(12))


def test_a_thread_delivers_while_others_work(store: Outbox, box: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "POLL_SECONDS", 0.05)
    with mail.delivering(store):  # type: ignore[arg-type]
        store.queue()
        box.wait(1)
        store.queue("done", "bob@lab.example", event=2)
        box.wait(2)
