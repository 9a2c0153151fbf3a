"""Mail servers that refuse, are not who they say, are not there, or stall."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.jobs import outbox
from tests.mailbox import PASSWORD, Mailbox, find_port, receiving, stalling
from tests.outbox_file import Outbox, configure


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
