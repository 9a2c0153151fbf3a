"""Links to a job's page and results that work without a log-in: signed and good for a time, or public if asked.

The signature is an HMAC-SHA256 under the setting ``secret_key``: changing that takes back every link. A job that was
made public needs no signature; its own name opens it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import sqlite3
import time
from dataclasses import dataclass

from pipeline.config import settings
from pipeline.errors import GoneError, UnknownError

DAY = 86400.0
PURPOSE = b"voxelforest: link to the results of a job\0"
KEY = re.compile(r"([A-Za-z0-9_.-]{1,300})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})", re.ASCII)

SCHEMA = """
CREATE TABLE IF NOT EXISTS public_jobs (
    job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    since REAL NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Link:
    """Where a job is to be seen.

    Parameters
    ----------
    url : str
        Absolute where the address of the server is known.
    expires : float, optional
        Seconds since 1970; None for the page that wants a log-in, if the server does.
    """

    url: str
    expires: float | None


def link_to(job: str, base: str | None = None) -> Link:
    """The link for those who are told of a job: signed where there is a key, else to its page.

    Parameters
    ----------
    job : str
        Its id.
    base : str, optional
        Where the server is; by default the setting ``public_url``.
    """
    given = settings()
    place = (given.public_url or base or "").rstrip("/")
    if given.secret_key is None:
        return Link(f"{place}/jobs/{job}", None)
    expires = int(time.time() + given.link_days * DAY)
    return Link(f"{place}/shared/{sign(job, expires)}/", expires)


def sign(job: str, expires: int) -> str:
    """The part of a link that opens a job until a time, seconds since 1970.

    Raises
    ------
    UnknownError
        If the server has no key.
    """
    said = f"{job}.{expires}"
    return f"{said}.{_signature(said)}"


def check(key: str) -> str:
    """The job that the part of a link opens.

    Raises
    ------
    GoneError
        If its time is over.
    UnknownError
        If it was not made with this server's key.
    """
    found = KEY.fullmatch(key)
    if found is None or not hmac.compare_digest(_signature(f"{found[1]}.{found[2]}"), found[3]):
        raise UnknownError("This link is none of this server's; copy all of it from the mail.", "link")
    if int(found[2]) < time.time():
        raise GoneError("The time of this link is over; ask who runs the job for a new one.", "link")
    return found[1]


def publish(connection: sqlite3.Connection, job: str, public: bool) -> None:
    """Let everybody see a job who knows its name, or no longer."""
    if public:
        connection.execute("INSERT OR IGNORE INTO public_jobs VALUES (?, ?)", (job, time.time()))
    else:
        connection.execute("DELETE FROM public_jobs WHERE job = ?", (job,))


def is_public(connection: sqlite3.Connection, job: str) -> bool:
    """Whether everybody may see a job."""
    return connection.execute("SELECT 1 FROM public_jobs WHERE job = ?", (job,)).fetchone() is not None


def _signature(said: str) -> str:
    key = settings().secret_key
    if key is None:
        raise UnknownError("This server has no signed links: VOXELFOREST_SECRET_KEY is not set.", "link")
    digest = hmac.new(key.get_secret_value().encode(), PURPOSE + said.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
