"""Mails over real sockets: encrypted, logged in, tried again, and never sent twice but as said."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import settings
from pipeline.jobs import mail, outbox
from pipeline.jobs.outbox import Mail
from tests.made_jobs import make_job
from tests.mailbox import PASSWORD, SENDER, Mailbox, find_port, receiving, stalling

SEND = """
import sys
from pathlib import Path
from types import SimpleNamespace
from pipeline.jobs import mail
mail.deliver_due(SimpleNamespace(path=Path(sys.argv[1])))
"""


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
        connection.executescript("PRAGMA journal_mode=WAL;" + outbox.SCHEMA)
    configure(monkeypatch, box.environment())
    yield store
    settings.cache_clear()


def configure(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()


def test_a_mail_is_encrypted_and_complete(store: Outbox, box: Mailbox) -> None:
    store.queue()
    assert store.deliver() == 1
    [(sender, recipients, content)] = box.taken
    assert (sender, recipients, box.encrypted) == (SENDER, ["ada@lab.example"], [True])
    [message] = box.messages
    assert message["Subject"] == "nomads-unsupervised of collman/M247514_Rorb_1: done"
    assert (message["From"], message["To"]) == (SENDER, "ada@lab.example")
    assert message["Date"].datetime.timestamp() == int(store.mails()[0].queued)
    assert message["Message-ID"] == store.mails()[0].message_id
    assert {part.get_content_type() for part in message.walk()} >= {"text/plain", "text/html"}
    assert content.count(b"\r\n\r\n") >= 3
    assert store.deliver() == 0
    assert [each.state for each in store.mails()] == ["sent"]


def test_implicit_tls(store: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(tmp_path, "implicit") as box:
        configure(monkeypatch, box.environment("implicit"))
        store.queue()
        assert store.deliver() == 1
        assert box.encrypted == [True]


@pytest.mark.parametrize("outcome", outbox.OUTCOMES)
def test_each_outcome_has_its_mail(store: Outbox, box: Mailbox, outcome: str) -> None:
    store.queue(outcome)
    store.deliver()
    [message] = box.messages
    said = message.get_body(("plain",))
    assert said is not None
    word = {"done": "1,234 objects", "failed": "does not answer", "needs token": "waits for your token"}[outcome]
    assert word in said.get_content()


def test_a_person_is_told_once_of_an_event_and_again_of_the_next(store: Outbox, box: Mailbox) -> None:
    store.queue("failed")
    store.queue("failed")
    store.queue("failed", "ada@lab.example", "bob@lab.example")
    store.queue("done", event=2)
    assert store.deliver() == 3
    assert [to for _, [to], _ in box.taken].count("ada@lab.example") == 2
    assert len({message["Message-ID"] for message in box.messages}) == 3


# ---- servers that refuse


@pytest.mark.parametrize(
    ("command", "answer", "state"),
    [
        ("RCPT", "550 no such person", "given up"),
        ("RCPT", "450 come again", "waiting"),
        ("DATA", "554 we do not like it", "given up"),
        ("DATA", "451 out of order", "waiting"),
        ("MAIL", "452 disk is full", "waiting"),
        ("MAIL", "550 not from you", "waiting"),
    ],
)
def test_what_is_refused_for_good_is_given_up(
    store: Outbox, box: Mailbox, command: str, answer: str, state: str
) -> None:
    box.answers[command] = answer
    store.queue()
    assert store.deliver() == 0
    [row] = store.mails()
    assert (row.state, row.attempts) == (state, 1)
    assert row.reason is not None
    assert answer in row.reason
    box.answers.clear()
    assert store.deliver() == (state == "waiting")


def test_one_bad_address_does_not_keep_others_waiting(store: Outbox, box: Mailbox) -> None:
    async def refuse(_server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if address.startswith("bad"):
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    kept = box.handle_RCPT
    box.handle_RCPT = refuse  # type: ignore[method-assign]
    try:
        store.queue("done", "bad@lab.example", "good@lab.example")
        assert store.deliver() == 1
    finally:
        box.handle_RCPT = kept  # type: ignore[method-assign]


def test_a_wrong_password_is_an_error_that_does_not_tell_it(
    store: Outbox, box: Mailbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = PASSWORD + "-wrong"
    configure(monkeypatch, {"VOXELFOREST_SMTP_PASSWORD": secret})
    store.queue()
    assert store.deliver() == 0
    [row] = store.mails()
    assert row.reason is not None
    assert "refuses the log-in: 535" in row.reason
    assert row.state == "waiting"
    assert secret not in row.reason + caplog.text


def test_a_certificate_of_nobody_is_not_trusted(
    store: Outbox, tmp_path: Path, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with receiving(other):  # makes an authority that did not sign the server's certificate
        configure(monkeypatch, {"SSL_CERT_FILE": str(other / "authority.pem")})
        store.queue()
        assert store.deliver() == 0
    assert "not trusted" in str(store.mails()[0].reason)
    assert box.taken == []


def test_a_certificate_of_another_name_is_not_trusted(
    store: Outbox, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, {"VOXELFOREST_SMTP_HOST": "127.0.0.1"})
    store.queue()
    assert store.deliver() == 0
    assert "not trusted" in str(store.mails()[0].reason)
    assert box.taken == []


# ---- servers that are not there, or stall


def test_a_server_that_is_down_is_tried_again_ever_more_rarely(
    store: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = find_port()
    configure(monkeypatch, {"VOXELFOREST_SMTP_PORT": str(port)})
    store.queue("done", "a@lab.example", "b@lab.example")
    waits = []
    for _ in range(3):
        before = time.time()
        assert store.deliver() == 0
        tried = [row for row in store.mails() if row.due]  # one of the two: the other need not be tried
        waits.append(max(row.due or 0 for row in tried) - before)
    assert all("refused" in str(row.reason).lower() for row in store.mails() if row.reason)
    assert waits[-1] > waits[0] >= outbox.FIRST_WAIT
    with receiving(tmp_path, port=port) as box:
        configure(monkeypatch, box.environment())
        assert store.deliver() == 2


def test_what_cannot_be_sent_for_days_is_given_up(store: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, {"VOXELFOREST_SMTP_PORT": str(find_port()), "VOXELFOREST_MAIL_DAYS": "0"})
    store.queue()
    store.deliver()
    assert [row.state for row in store.mails()] == ["given up"]


@pytest.mark.parametrize("says", [b"", b"2", b"220 hello\r\n"])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_server_that_stalls_is_left_in_time(
    store: Outbox, monkeypatch: pytest.MonkeyPatch, says: bytes, tls: str
) -> None:
    with stalling(says) as port:
        given = {"SMTP_PORT": str(port), "SMTP_SECONDS": "0.4", "SMTP_TLS": tls}
        configure(monkeypatch, {f"VOXELFOREST_{name}": value for name, value in given.items()})
        store.queue()
        assert store.deliver() == 0
    assert store.mails()[0].state == "waiting"
    assert store.mails()[0].reason


def test_a_server_without_encryption_gets_nothing(store: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    from aiosmtpd.controller import Controller

    box = Mailbox(find_port(), Path())
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    try:
        configure(monkeypatch, {"VOXELFOREST_SMTP_PORT": str(box.port)})
        store.queue()
        assert store.deliver() == 0
        assert "does not offer" in str(store.mails()[0].reason)
    finally:
        controller.stop()
    assert box.taken == []


# ---- settings


def test_without_a_mail_server_mails_wait(store: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXELFOREST_SMTP_HOST")
    settings.cache_clear()
    store.queue()
    assert store.deliver() == 0
    assert [(row.state, row.attempts) for row in store.mails()] == [("waiting", 0)]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"SMTP_HOST": "mail.example", "SMTP_TLS": "none"}, "unencrypted"),
        ({"SMTP_FROM": "Lab <lab@lab.example>"}, "VOXELFOREST_SMTP_FROM"),
        ({"SMTP_FROM": "lab@lab.example\r\nBcc: b@lab.example"}, "VOXELFOREST_SMTP_FROM"),
        ({"SMTP_USER": None}, "both"),
    ],
)
def test_settings_that_do_not_go_together_are_said_in_the_log(
    store: Outbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variables: Mapping[str, str | None],
    said: str,
) -> None:
    for name, value in variables.items():
        if value is None:
            monkeypatch.delenv(f"VOXELFOREST_{name}")
        else:
            monkeypatch.setenv(f"VOXELFOREST_{name}", value)
    settings.cache_clear()
    mail._tell_once.cache_clear()
    store.queue()
    assert store.deliver() == store.deliver() == 0
    assert caplog.text.count(said) == 1
    assert PASSWORD not in caplog.text


def test_secrets_are_in_no_repr(box: Mailbox, store: Outbox) -> None:
    from pipeline.jobs.mail_server import MailServer

    server = MailServer.configured(settings())
    assert server is not None
    assert PASSWORD not in repr(server) + str(server) + repr(settings())


# ---- what is killed


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


# ---- what mails say


@pytest.mark.parametrize(
    "value", ["x\r\nBcc: evil@lab.example", "x\nBcc: evil@lab.example", "x\rBcc: evil@lab.example"]
)
def test_a_line_break_in_a_header_is_refused_and_shown(store: Outbox, box: Mailbox, value: str) -> None:
    from dataclasses import replace

    from tests.made_jobs import REQUEST

    store.queue(request=replace(REQUEST, collection=value), id=make_job().id)
    assert store.deliver() == 0
    assert box.taken == []
    [row] = store.mails()
    assert (row.state, "cannot be written" in str(row.reason)) == ("given up", True)


def test_html_is_escaped(store: Outbox, box: Mailbox) -> None:
    store.queue("failed", reason='<img src=x onerror="alert(1)"> & more')
    store.deliver()
    html = box.messages[0].get_body(("html",))
    assert html is not None
    assert "<img" not in html.get_content()
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt; &amp; more" in html.get_content()
