"""Handing one mail over to a mail server: SMTP with TLS that is verified, a log-in, and an end to each attempt."""

from __future__ import annotations

import base64
import contextlib
import os
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage

from pipeline.config import Settings
from pipeline.errors import PlanError
from pipeline.jobs.address import check_address

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class MailServer:
    """Where mails are handed over, and how.

    Parameters
    ----------
    host, port, user, password, sender, tls
        See the settings ``smtp_…``.
    seconds : float
        An attempt lasts no longer, whatever the server does.
    """

    host: str
    port: int
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: str = "starttls"
    seconds: float = 30.0

    @classmethod
    def configured(cls, given: Settings) -> MailServer | None:
        """The mail server of the settings, None where there is none.

        Raises
        ------
        PlanError
            If the settings do not go together.
        """
        if given.smtp_host is None:
            return None
        password = given.smtp_password.get_secret_value() if given.smtp_password else None
        if (given.smtp_user is None) != (password is None):
            raise PlanError("set both of VOXELFOREST_SMTP_USER and VOXELFOREST_SMTP_PASSWORD, or neither", "smtp")
        if password is not None and given.smtp_tls == "none" and given.smtp_host not in LOCAL_NAMES:
            raise PlanError(
                f"a password would go to {given.smtp_host} unencrypted: set VOXELFOREST_SMTP_TLS to starttls or "
                "implicit",
                "smtp",
            )
        try:
            sender = check_address(given.smtp_from or given.smtp_user or "")
        except ValueError as error:
            raise PlanError(f"VOXELFOREST_SMTP_FROM, the sender of mails, is {error}", "smtp") from None
        place = given.smtp_host, given.smtp_port
        return cls(*place, sender, given.smtp_user, password, given.smtp_tls, given.smtp_seconds)


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed.

    Parameters
    ----------
    reason : str
        One line, without secrets.
    final : bool
        The server will never take this mail for this person.
    for_all : bool
        It is the server, not the mail: others need not be tried now.
    """

    reason: str
    final: bool = False
    for_all: bool = True


def hand_over(
    server: MailServer, message: EmailMessage, recipient: str, taken: Callable[[], None] = lambda: None
) -> Failure | None:
    """Give one message to the server; None if it took it.

    Parameters
    ----------
    taken : callable
        Called as soon as the server has said "250": what is said after that cannot take it back.
    """
    accepted = False
    try:
        with _session(server) as smtp:
            smtp.send_message(message, server.sender, [recipient])
            accepted = True
            taken()
    except (OSError, smtplib.SMTPException, ValueError) as error:  # ValueError: bytes that are no SMTP
        return None if accepted else _explain(error, server)
    return None


@contextlib.contextmanager
def _session(server: MailServer) -> Iterator[smtplib.SMTP]:
    """A session that is encrypted and logged in; the connection is shut when its time is over."""
    context = ssl.create_default_context()
    deadline = _Deadline(server.seconds)
    smtp = _Implicit(context, deadline) if server.tls == "implicit" else _Plain(deadline)
    with deadline:
        try:
            smtp.connect(server.host, server.port)
            if server.tls == "starttls":
                smtp.starttls(context=context)
            if server.user is not None and server.password is not None:
                smtp.login(server.user, server.password)
            yield smtp
            with contextlib.suppress(OSError, smtplib.SMTPException):
                smtp.quit()
        finally:
            smtp.close()


class _Deadline:
    """Shuts a connection when its time is over: time-outs of sockets end no server that sends a byte now and then."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True
        self._twin: socket.socket | None = None
        self.over = False

    def watch(self, connection: socket.socket) -> None:
        """Keep a twin of the connection: TLS takes the original apart."""
        self._twin = socket.socket(fileno=os.dup(connection.fileno()))
        if self.over:
            self._shut()

    def _shut(self) -> None:
        self.over = True
        if self._twin is not None:
            with contextlib.suppress(OSError):
                self._twin.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._twin is not None:
            self._twin.close()
        if self.over:
            raise TimeoutError(f"no end after {self.seconds:g} seconds") from None


class _Plain(smtplib.SMTP):
    def __init__(self, deadline: _Deadline) -> None:
        self._deadline = deadline
        super().__init__(timeout=deadline.seconds)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        self._host = host  # whom the certificate has to name; smtplib sets it too late
        connection = socket.create_connection((host, port), timeout)
        self._deadline.watch(connection)
        return connection


class _Implicit(_Plain):
    def __init__(self, context: ssl.SSLContext, deadline: _Deadline) -> None:
        self._context = context
        super().__init__(deadline)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._context.wrap_socket(super()._get_socket(host, port, timeout), server_hostname=host)


def _explain(error: Exception, server: MailServer) -> Failure:
    where = f"{server.host} port {server.port}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, answer = next(iter(error.recipients.values()))
        return Failure(f"{where} refuses this address: {_say(code, answer, server)}", code >= 500, for_all=False)
    if isinstance(error, smtplib.SMTPDataError):
        why = _say(error.smtp_code, error.smtp_error, server)
        return Failure(f"{where} refuses the mail: {why}", error.smtp_code >= 500, for_all=False)
    if isinstance(error, smtplib.SMTPResponseException):
        step = "the log-in" if isinstance(error, smtplib.SMTPAuthenticationError) else "the session"
        return Failure(f"{where} refuses {step}: {_say(error.smtp_code, error.smtp_error, server)}")
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Failure(f"{where} does not offer what is wanted of it ({server.tls}, log-in)")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(f"{where} shows a certificate that is not trusted: {error.verify_message}")
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return Failure(f"{where} cannot be used: {_say(None, why, server)}")


def _say(code: int | None, said: bytes | str, server: MailServer) -> str:
    """What a server said, in one printable line; it may repeat what it was sent, but not the password."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    secret = server.password or ""
    for hidden in (secret, *_encoded(server.user or "", secret)):
        line = line.replace(hidden, "…") if hidden else line
    return f"{code} {line}".strip() if code is not None else line


def _encoded(user: str, secret: str) -> tuple[str, ...]:
    """The password as AUTH LOGIN and AUTH PLAIN send it."""
    if not secret:
        return ()
    return tuple(base64.b64encode(text.encode()).decode() for text in (secret, f"\0{user}\0{secret}"))
