"""How the archive and what lies in it are named: its URL, ``collection/experiment``, and ``boss://`` with a query.

Text of people and of servers goes into URLs here and nowhere else, so it is checked here to be nothing but a name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.errors import ArchiveError

SCHEME = "boss://"
LONGEST_NAME = 255  # of the archive's own data base
HOST = re.compile(
    r"(?P<protocol>https?)://(?P<host>(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)/?",
    re.ASCII,
)
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", re.ASCII)
WHOLE_NUMBERS = re.compile(r"([0-9]{1,18}):([0-9]{1,18})", re.ASCII)

Range = tuple[int, int]


@dataclass(frozen=True)
class Address:
    """What ``boss://collection/experiment?z=0:24&channel=a,b&version=2`` says.

    Parameters
    ----------
    collection, experiment : str
    ranges : mapping of axis (z, y, x) to (start, stop)
        In voxels of the coordinate frame; axes that are not named are read whole.
    channels : tuple of str
        Empty where none are named.
    version : str
        A word that tells states of the data apart; empty by default.
    """

    collection: str
    experiment: str
    ranges: Mapping[str, Range] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    version: str = ""


def parse_url(text: str) -> tuple[str, str]:
    """The protocol and the host of an archive, ``name`` or ``name:port``.

    Raises
    ------
    ArchiveError
        Unless the text is ``https://name``, ``http://name:port`` or the like, with nothing behind.
    """
    found = HOST.fullmatch(text)
    port = found["host"].rpartition(":")[2] if found else ""
    if found is None or (port.isdigit() and not 0 < int(port) < 1 << 16):
        raise ArchiveError(
            f"{_shown(text)} is not the URL of an archive: VOXELFOREST_BOSS_URL is to be https://name or "
            "http://name:port, without user, path or query",
            code="url",
        )
    return found["protocol"], found["host"]


def check_name(kind: str, text: str) -> str:
    """`text`, if it can be the name of a collection, an experiment or a channel.

    Raises
    ------
    ArchiveError
        Naming the `kind`, what was given and what is allowed.
    """
    if NAME.fullmatch(text) and len(text) <= LONGEST_NAME:
        return text
    raise ArchiveError(
        f"{_shown(text)} cannot be the name of {kind}: allowed are letters, digits, '_', '-' and '.' inside, "
        f"{LONGEST_NAME} at most",
        code="name",
    )


def parse_names(text: str) -> tuple[str, str]:
    """Collection and experiment of ``collection/experiment``.

    Raises
    ------
    ArchiveError
        If it is anything else.
    """
    parts = text.split("/")
    if len(parts) != 2:
        raise ArchiveError(f"{_shown(text)} should be collection/experiment, two names", code="name")
    return check_name("a collection", parts[0]), check_name("an experiment", parts[1])


def parse_range(axis: str, text: str) -> Range:
    """Two whole numbers as ``start:stop``, start inclusive, stop exclusive.

    Raises
    ------
    ArchiveError
        If they are no such numbers, or hold no voxel.
    """
    found = WHOLE_NUMBERS.fullmatch(text)
    if found is None or int(found[1]) >= int(found[2]):
        raise ArchiveError(
            f"{axis}={_shown(text)} is no range; give start:stop in voxels, as {axis}=0:64, stop exclusive",
            code="range",
        )
    return int(found[1]), int(found[2])


def parse_address(text: str) -> Address:
    """What a ``boss://`` URL says.

    Raises
    ------
    ArchiveError
        Naming the part that is not understood.
    """
    place, mark, query = text.removeprefix(SCHEME).partition("?")
    try:
        collection, experiment = parse_names(place.removesuffix("/"))
    except ArchiveError as error:
        raise ArchiveError(
            f"{text}: {error.message}; a volume is {SCHEME}collection/experiment?z=0:64&channel=NAME", code=error.code
        ) from None
    ranges: dict[str, Range] = {}
    words: dict[str, str] = {}
    for part in query.split("&") if mark else ():
        key, _, value = part.partition("=")
        if key in ranges or key in words:
            raise ArchiveError(f"{text}: {key} is given twice", code="query")
        if key in ("z", "y", "x"):
            ranges[key] = parse_range(key, value)
        elif key in ("channel", "version"):
            words[key] = value
        else:
            raise ArchiveError(
                f"{text}: {_shown(key)} is not known; known are z, y, x, channel and version", code="query"
            )
    channels = (
        tuple(check_name("a channel", name) for name in words["channel"].split(",")) if "channel" in words else ()
    )
    if len(set(channels)) < len(channels):
        raise ArchiveError(f"{text}: a channel is named twice", code="query")
    version = check_name("a version", words["version"]) if "version" in words else ""
    return Address(collection, experiment, ranges, channels, version)


def channel_name(key: str, name: str) -> str:
    """The channel that a result is pushed to: ``{key}_{name}``.

    Parameters
    ----------
    key : str
        Of the job.
    name : str
        Of the result, as ``All`` or ``Gaba``.

    Raises
    ------
    ArchiveError
        If that is no name, or too long for one.
    """
    return check_name("a channel", f"{key}_{name}")


def _shown(text: str) -> str:
    """Text of somebody else for a message: quoted, in one line, not endless."""
    return repr(text if len(text) <= 80 else text[:77] + "...")
