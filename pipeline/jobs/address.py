"""E-mail addresses as people type them: one, bare, and nothing that could become a header or a second recipient."""

from __future__ import annotations

import re

LONGEST = 254  # characters, RFC 5321
LONGEST_LOCAL = 64
LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
DOMAIN = re.compile(rf"(?:{LABEL}\.)+{LABEL}", re.ASCII)


def check_address(text: str) -> str:
    """One bare e-mail address, as a form gives it; blanks around it are dropped.

    Raises
    ------
    ValueError
        If it is anything else: several, one with a name, one with a blank or a line break.

    Examples
    --------
    >>> check_address(" a.b+c@lab.example ")
    'a.b+c@lab.example'
    >>> check_address("A <a@lab.example>")
    Traceback (most recent call last):
    ...
    ValueError: not one e-mail address, such as name@lab.example
    """
    address = text.strip(" ")
    local, _, domain = address.rpartition("@")
    good = (
        len(address) <= LONGEST and len(local) <= LONGEST_LOCAL and LOCAL.fullmatch(local) and DOMAIN.fullmatch(domain)
    )
    if not good:
        raise ValueError("not one e-mail address, such as name@lab.example")
    return address
