"""What mails say: text and HTML with the same words, from the facts that were kept when the outcome was reached."""

from __future__ import annotations

import html
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from pipeline.jobs import links
from pipeline.jobs.outbox import Mail

OPENINGS = {
    "done": "Here is the {link} to {pipeline} Results.",
    "failed": "{pipeline} could not be finished; here is the {link} to what happened.",
    "needs token": "{pipeline} waits for your token; here is the {link} to the page where you can give it again.",
}
SUBJECTS = {"done": "done", "failed": "failed", "needs token": "waiting for your token"}
HTML = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body>
<p>Hi!<br>
{opening}</p>
{rows}
{notes}
</body>
</html>
"""
ROW = '<tr><th align="left" style="padding-right:1em;font-weight:normal;color:#58645f">{}</th><td>{}</td></tr>'


def write_letter(mail: Mail, sender: str, link: links.Link) -> EmailMessage:
    """The message of a mail, complete with its headers.

    Parameters
    ----------
    mail : Mail
    sender : str
        Address.
    link : Link
        Where its job is to be seen.

    Raises
    ------
    ValueError
        If a header would hold a line break.
    """
    facts = mail.facts
    title = f"{facts['pipeline']} of {facts['collection']}/{facts['experiment']}: {SUBJECTS[mail.outcome]}"
    message = EmailMessage()
    message["Subject"] = title
    message["From"] = sender
    message["To"] = mail.recipient
    message["Date"] = format_datetime(datetime.fromtimestamp(mail.queued, UTC))
    message["Message-ID"] = mail.message_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_text(mail, link))
    message.add_alternative(_html(mail, title, link), subtype="html")
    return message


def _text(mail: Mail, link: links.Link) -> str:
    opening = OPENINGS[mail.outcome].format(link="link", pipeline=mail.facts["pipeline"])
    rows = [f"{name}: {value}" for name, value in _rows(mail).items()]
    return "\n".join(["Hi!", opening, link.url, "", *rows, "", *_notes(link)]) + "\n"


def _html(mail: Mail, title: str, link: links.Link) -> str:
    anchor = f'<a href="{html.escape(link.url)}">link</a>'
    opening = OPENINGS[mail.outcome].format(link=anchor, pipeline=html.escape(mail.facts["pipeline"]))
    rows = "\n".join(ROW.format(html.escape(name), html.escape(value)) for name, value in _rows(mail).items())
    notes = "\n".join(f"<p>{html.escape(note)}</p>" for note in _notes(link))
    return HTML.format(title=html.escape(title), opening=opening, rows=f"<table>\n{rows}\n</table>", notes=notes)


def _rows(mail: Mail) -> dict[str, str]:
    """What is told of the job, by name."""
    facts = mail.facts
    ranges = ", ".join(f"{axis} {start} to {stop}" for axis, (start, stop) in facts["ranges"].items())
    rows = {
        "Data": f"{facts['collection']} / {facts['experiment']}, {ranges}",
        "Found": None if facts["objects"] is None else f"{facts['objects']:,} objects",
        "Pushed": ", ".join(facts["pushed"]),
        "Reason": facts["reason"],
        "Took": None if facts["seconds"] is None else show_seconds(facts["seconds"]),
        "Job": facts["key"],
    }
    if mail.outcome == "done":
        rows["Reason"] = None
    return {name: " ".join(str(value).split()) for name, value in rows.items() if value}


def _notes(link: links.Link) -> list[str]:
    if link.expires is None:
        return []
    day = datetime.fromtimestamp(link.expires, UTC).date().isoformat()
    return [f"Whoever has the link can see the results with it, until {day}."]


def show_seconds(seconds: float) -> str:
    """A time as people say it.

    Examples
    --------
    >>> [show_seconds(n) for n in (0.4, 59, 61, 3700, 200_000)]
    ['1 s', '59 s', '1 min 1 s', '1 h 1 min', '2 d 7 h']
    """
    whole = max(1, round(seconds))
    parts: Mapping[str, int] = {
        "d": whole // 86400,
        "h": whole // 3600 % 24,
        "min": whole // 60 % 60,
        "s": whole % 60,
    }
    said = [f"{n} {unit}" for unit, n in parts.items() if n]
    return " ".join(said[:2])
