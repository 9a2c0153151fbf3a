"""A real mail server for tests: STARTTLS or implicit TLS, a log-in, a certificate of its own, and bad moods."""

from __future__ import annotations

import contextlib
import email
import email.policy
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

USER, PASSWORD = "sender@lab.example", "app-password-of-many-signs"
SENDER = "voxelforest@lab.example"


@dataclass
class Mailbox:
    """A server that is running, and what it has taken.

    Parameters
    ----------
    port : int
    authority : Path
        Certificate that clients have to trust.
    answers : dict
        What it says to a command ("RCPT", "DATA") in place of 250; taken back by removing it.
    """

    port: int
    authority: Path
    answers: dict[str, str] = field(default_factory=dict)
    taken: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    before_answer: Callable[[], None] = lambda: None

    async def handle_MAIL(self, _server: Any, _session: Any, envelope: Any, address: str, options: list[str]) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.answers.get("MAIL", "250 OK")

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if "RCPT" not in self.answers:
            envelope.rcpt_tos.append(address)
        return self.answers.get("RCPT", "250 OK")

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:
        if "DATA" in self.answers:
            return self.answers["DATA"]
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        self.taken.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.content))
        self.before_answer()
        return "250 OK"

    @property
    def messages(self) -> list[EmailMessage]:
        """What was taken, parsed."""
        return [email.message_from_bytes(content, policy=email.policy.default) for _, _, content in self.taken]

    def wait(self, count: int, seconds: float = 60.0) -> list[EmailMessage]:
        """The messages, once there are so many."""
        until = time.monotonic() + seconds
        while len(self.taken) < count:
            assert time.monotonic() < until, f"{len(self.taken)} mails came, not {count}"
            time.sleep(0.05)
        return self.messages

    def environment(self, tls: str = "starttls") -> Mapping[str, str]:
        """The settings of a process that sends through this server."""
        return {
            "VOXELFOREST_SMTP_HOST": "localhost",
            "VOXELFOREST_SMTP_PORT": str(self.port),
            "VOXELFOREST_SMTP_USER": USER,
            "VOXELFOREST_SMTP_PASSWORD": PASSWORD,
            "VOXELFOREST_SMTP_FROM": SENDER,
            "VOXELFOREST_SMTP_TLS": tls,
            "VOXELFOREST_SMTP_SECONDS": "5",
            "SSL_CERT_FILE": str(self.authority),
        }


class _ImplicitController(Controller):
    """Encrypted from the first byte; log-in is offered at once then."""

    def _trigger_server(self) -> None:
        """Its look at itself, by the name in the certificate."""
        trusting = ssl.create_default_context(cafile=self.handler.authority)
        with socket.create_connection((self.hostname, self.port), 5) as plain:
            trusting.wrap_socket(plain, server_hostname="localhost").close()

    def factory(self) -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it does not know that all of the session is encrypted
            return SMTP(self.handler, auth_require_tls=False, authenticator=_authenticate, auth_required=True)


def _authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    good = data == LoginPassword(USER.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=False)  # not handled: the server itself says 535


@contextlib.contextmanager
def receiving(folder: Path, tls: str = "starttls", port: int | None = None) -> Iterator[Mailbox]:
    """A mail server at localhost, while the context lasts.

    Parameters
    ----------
    folder : Path
        For the certificate of the authority.
    tls : {"starttls", "implicit"}
    port : int, optional
        A free one by default.
    """
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    box = Mailbox(port or find_port(), folder / "authority.pem")
    place: dict[str, Any] = {"hostname": "127.0.0.1", "port": box.port}
    if tls == "implicit":
        controller: Controller = _ImplicitController(box, ssl_context=context, **place)
    else:
        options: dict[str, Any] = {"tls_context": context, "require_starttls": True, "auth_required": True}
        controller = Controller(box, authenticator=_authenticate, **options, **place)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


@contextlib.contextmanager
def stalling(says: bytes = b"", every: float = 0.05) -> Iterator[int]:
    """A server that says a byte now and then and never ends a line; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        end = threading.Event()

        def work() -> None:
            while not end.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        while not end.wait(every):
                            connection.sendall(says)

        thread = threading.Thread(target=work)
        thread.start()
        yield int(listener.getsockname()[1])
        end.set()
        thread.join()


def find_port() -> int:
    """A port that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
