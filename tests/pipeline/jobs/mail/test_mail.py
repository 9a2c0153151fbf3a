"""Mails over real sockets: encrypted, logged in, complete; what settings have to say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.config import settings
from pipeline.jobs import mail, outbox
from tests.made_jobs import make_job
from tests.mailbox import PASSWORD, SENDER, Mailbox, receiving
from tests.outbox_file import Outbox, configure


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
