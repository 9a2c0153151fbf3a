"""Links to a job's page and results that work without a log-in: signed and good for a time, or public if asked.

The signature is an HMAC-SHA256 under the setting ``secret_key``: changing that takes back every link. Each link also
has a row, so that it can be found and withdrawn by itself. A job that was made public needs no signature; its own name
opens it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.config import settings
from pipeline.errors import ConflictError, GoneError, UnknownError
from pipeline.jobs.fields import shorten

if TYPE_CHECKING:
    from pipeline.jobs.results import Results

DAY = 86400.0
PURPOSE = b"voxelforest: link to the results of a job\0"
KEY = re.compile(r"([A-Za-z0-9_.-]{1,300})\.([0-9a-f]{12})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})", re.ASCII)
NAME_BYTES = 6
LONGEST_SIGNED = 7 * DAY  # of a link that a bucket answers; S3 takes no more

SCHEMA = """
CREATE TABLE IF NOT EXISTS public_jobs (
    job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    since REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS links (
    name TEXT PRIMARY KEY,
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    made REAL NOT NULL,
    expires INTEGER NOT NULL,
    mail TEXT UNIQUE,
    withdrawn REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS links_by_job ON links (job, made);
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
    name : str, optional
        What a signed link is withdrawn by; it opens nothing.
    made : float, optional
        Seconds since 1970, of a signed link.
    recipient : str, optional
        Address that it went to by mail.
    withdrawn : float, optional
        When it was withdrawn.
    """

    url: str
    expires: float | None
    name: str | None = None
    made: float | None = None
    recipient: str | None = None
    withdrawn: float | None = None

    @property
    def state(self) -> str:
        """open, over or withdrawn."""
        if self.withdrawn is not None:
            return "withdrawn"
        return "over" if self.expires is not None and self.expires < time.time() else "open"


def make_link(connection: sqlite3.Connection, job: str, base: str | None = None, *, mail: str | None = None) -> Link:
    """A link for those who are told of a job: a new one that is signed where there is a key, else to its page.

    Parameters
    ----------
    connection : sqlite3.Connection
        To the jobs' file.
    job : str
        Its id.
    base : str, optional
        Where the server is; by default the setting ``public_url``.
    mail : str, optional
        Message-ID of the mail that it stands in: however often that is sent, it holds the same link.
    """
    given = settings()
    if given.secret_key is None:
        return page_link(job, base)
    now = time.time()
    row = secrets.token_hex(NAME_BYTES), job, now, int(now + given.link_days * DAY), mail
    text = "INSERT INTO links (name, job, made, expires, mail) VALUES (?, ?, ?, ?, ?) ON CONFLICT (mail) DO NOTHING"
    connection.execute(text, row)
    where, value = ("name", row[0]) if mail is None else ("mail", mail)
    name, expires = connection.execute(f"SELECT name, expires FROM links WHERE {where} = ?", (value,)).fetchone()
    return Link(_url(base, job, name, expires), expires, name, now)


def sign_file(results: Results, name: str) -> Link:
    """A link that the bucket of results answers itself: to one file, for a time, which cannot be withdrawn.

    Parameters
    ----------
    results : Results
        Of one job.
    name : str
        Of the file.

    Raises
    ------
    ConflictError
        If the results lie in no bucket.
    UnknownError
        If there is no such file.
    """
    seconds = min(settings().link_days * DAY, LONGEST_SIGNED)
    url = results.sign(name, seconds)
    if url is None:
        raise ConflictError("these results lie in a folder of the server: a link to the job shows all of them", "link")
    return Link(url, int(time.time() + seconds))


def links_of(connection: sqlite3.Connection, job: str, base: str | None = None) -> tuple[Link, ...]:
    """The signed links to a job, the newest first; those that are withdrawn or over, too.

    Parameters
    ----------
    base : str, optional
        As in `make_link`.
    """
    if settings().secret_key is None:
        return ()
    rows = connection.execute(
        "SELECT name, expires, made, recipient, withdrawn FROM links LEFT JOIN outbox ON message_id = mail "
        "WHERE links.job = ? ORDER BY made DESC, name",
        (job,),
    )
    return tuple(
        Link(_url(base, job, name, expires), expires, name, made, recipient, withdrawn)
        for name, expires, made, recipient, withdrawn in rows
    )


def withdraw(connection: sqlite3.Connection, job: str, name: str) -> None:
    """Let a link open nothing any more; once and for all.

    Raises
    ------
    UnknownError
        If the job has no link of this name.
    """
    text = "UPDATE links SET withdrawn = ifnull(withdrawn, ?) WHERE job = ? AND name = ?"
    if not connection.execute(text, (time.time(), job, name)).rowcount:
        raise UnknownError(f"there is no link {shorten(name)} to this job", "link")


def sign(job: str, name: str, expires: int) -> str:
    """The part of a link that opens a job until a time, seconds since 1970.

    Raises
    ------
    UnknownError
        If the server has no key.
    """
    said = f"{job}.{name}.{expires}"
    return f"{said}.{_signature(said)}"


def check(connection: sqlite3.Connection, key: str) -> str:
    """The job that the part of a link opens.

    Raises
    ------
    GoneError
        If its time is over, or it was withdrawn.
    UnknownError
        If it was not made with this server's key, or the job was removed since.
    """
    found = KEY.fullmatch(key)
    if found is None or not hmac.compare_digest(_signature(key.rpartition(".")[0]), found[4]):
        raise UnknownError("This link is none of this server's; copy all of it from the mail.", "link")
    if int(found[3]) < time.time():
        raise GoneError("The time of this link is over; ask who runs the job for a new one.", "link")
    row = connection.execute("SELECT withdrawn FROM links WHERE name = ? AND job = ?", (found[2], found[1])).fetchone()
    if row is None:
        raise UnknownError("The job of this link was removed.", "link")
    if row[0] is not None:
        raise GoneError("This link was withdrawn; ask who runs the job for a new one.", "link")
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


def page_link(job: str, base: str | None = None, *, public: bool = False) -> Link:
    """The link to the page of a job: that of those who may use the server, or that of everybody."""
    return Link(f"{_place(base)}/shared/{job}/" if public else f"{_place(base)}/jobs/{job}", None)


def _url(base: str | None, job: str, name: str, expires: int) -> str:
    return f"{_place(base)}/shared/{sign(job, name, expires)}/"


def _place(base: str | None) -> str:
    return (settings().public_url or base or "").rstrip("/")


def _signature(said: str) -> str:
    key = settings().secret_key
    if key is None:
        raise UnknownError("This server has no signed links: VOXELFOREST_SECRET_KEY is not set.", "link")
    digest = hmac.new(key.get_secret_value().encode(), PURPOSE + said.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
