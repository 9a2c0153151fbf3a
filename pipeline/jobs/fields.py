"""Ranges as the form gives them, read strictly."""

from __future__ import annotations

import re

LARGEST = 2**63 - 1
RANGE = re.compile(r" *(-?[0-9]+) *, *(-?[0-9]+) *", re.ASCII)
SHOWN = 60  # characters of what was given that an answer repeats

Range = tuple[int, int]


def parse_range(text: str) -> Range:
    """Two integers, start and stop, with blanks where one likes.

    Raises
    ------
    ValueError
        If it is anything else, or nothing lies between the two.

    Examples
    --------
    >>> parse_range(" 10, 20")
    (10, 20)
    >>> parse_range("5,10,20")
    Traceback (most recent call last):
    ...
    ValueError: '5,10,20' is not "start, stop": two whole numbers, such as 0, 24
    """
    found = RANGE.fullmatch(text)
    if found is None:
        raise ValueError(f'{shorten(text)} is not "start, stop": two whole numbers, such as 0, 24')
    if max(map(len, found.groups())) > len(str(LARGEST)):
        raise ValueError(f"{shorten(text)}: no volume is that large")
    start, stop = int(found[1]), int(found[2])
    if start < 0:
        raise ValueError(f"{start}, {stop}: the start is below 0")
    if stop <= start:
        raise ValueError(
            f"{start}, {stop}: the stop has to be larger than the start; it is not itself part of the range"
        )
    if stop > LARGEST:
        raise ValueError(f"{shorten(text)}: no volume is that large")
    return start, stop


def shorten(text: str) -> str:
    """What was given, quoted, without control characters, and not all of it where it is long."""
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 3] + "...")
