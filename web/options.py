"""How the server presents itself; decided once, when it starts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Options:
    """What the HTTP layer needs to know about its surroundings.

    Parameters
    ----------
    host : str
        Address that the server listens on.
    allow_hosts : tuple of str
        Further names that a request may call the server by.
    cors : tuple of str
        Origins whose pages may read answers, such as ``https://viewer.example``; ``*`` for any.
    token : str, optional
        What a request has to show; None lets everybody in.
    """

    host: str = "127.0.0.1"
    allow_hosts: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    token: str | None = None

    def __repr__(self) -> str:
        """Without the token: this may end up in a log."""
        return f"Options(host={self.host!r}, allow_hosts={self.allow_hosts}, cors={self.cors})"


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone.

    Examples
    --------
    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "lab.example")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
