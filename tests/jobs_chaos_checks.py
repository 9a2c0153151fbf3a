"""What must hold after the job service was shot at: jobs, rows, mails, links, and that no token stands anywhere."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil

from pipeline.jobs.job import DONE, FAILED
from pipeline.jobs.store import JobStore
from pipeline.volume import open_raw
from tests.archive_contents import Archive
from tests.job_service import TOKEN, make_values
from tests.mailbox import PASSWORD, Mailbox
from tests.servers import Address

# Each counts what must not be.
BAD = {
    "a step that is not allowed": """
        SELECT count(*) FROM (
            SELECT json_extract(document, '$.state') AS after, lag(json_extract(document, '$.state'))
            OVER (PARTITION BY job ORDER BY number) AS before FROM events WHERE kind = 'state') AS steps
        WHERE before IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM transitions AS t WHERE t.before = steps.before AND t.after = steps.after)""",
    "a job that does not begin queued": """
        SELECT count(*) FROM (SELECT job, min(number) AS first FROM events WHERE kind = 'state' GROUP BY job) AS f
        JOIN events ON events.number = f.first WHERE json_extract(document, '$.state') <> 'queued'""",
    "a job whose last event is not its state": """
        SELECT count(*) FROM jobs JOIN events ON events.number = jobs.event
        WHERE json_extract(document, '$.state') <> jobs.state""",
    "more outcomes than runs": """
        SELECT count(*) FROM jobs WHERE runs < (SELECT count(*) FROM events WHERE job = jobs.id AND kind = 'state'
        AND json_extract(document, '$.state') IN ('done', 'failed', 'cancelled'))""",
    "a job that was computed to the end more than once": """
        SELECT count(*) FROM jobs WHERE runs < (SELECT count(*) FROM events WHERE job = jobs.id
        AND kind = 'computed' AND NOT json_extract(document, '$.reused'))""",
    "a token that was not erased": "SELECT count(*) FROM jobs WHERE secret IS NOT NULL",
    "an outcome that somebody is not told of": """
        SELECT count(*) FROM jobs JOIN people ON people.job = jobs.id WHERE state IN ('done', 'failed')
        AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.job = jobs.id AND recipient = address)""",
    "a person who is told twice of one outcome": """
        SELECT count(*) FROM (SELECT 1 FROM outbox GROUP BY job, event, recipient HAVING count(*) > 1)""",
}


def check_results(store: JobStore, archive: Archive) -> Counter[str]:
    """Every job has ended, done with the right bytes here and in the archive, or failed with a reason."""
    states: Counter[str] = Counter()
    for job in store.list(limit=10_000):
        states[job.state] += 1
        assert job.finished, f"{job.id} is {job.state}"
        if job.state == DONE:
            (z0, z1), (y0, y1), (x0, x1) = job.request.z, job.request.y, job.request.x
            values = make_values()[z0:z1, y0:y1, x0:x1]
            expected = np.where(values >= job.request.parameters["threshold"], 255, 0).astype(np.uint8)
            volume = open_raw(job.folder / job.results["volumes"]["All"])
            np.testing.assert_array_equal(volume.read(volume.whole)[0, 0], expected)
            assert job.results["pushed"]
            for channel in job.results["pushed"]:
                there = archive.places["out", "results"].channels[channel].data
                assert there is not None
                np.testing.assert_array_equal(there[z0:z1, y0:y1, x0:x1], expected)
        else:
            assert job.state == FAILED
            assert job.reason
    return states


def check_tables(store: JobStore) -> None:
    """What must hold of the rows, whatever was killed."""
    with store.connect() as connection:
        found = {what: connection.execute(query).fetchone()[0] for what, query in BAD.items()}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert {what: count for what, count in found.items() if count} == {}


def check_mails(store: JobStore, box: Mailbox, chances: int) -> dict[str, int]:
    """Every row of the outbox went out, a second time under the same Message-ID alone, and at most once a chance.

    Parameters
    ----------
    chances : int
        Kills that may have fallen between the server's 250 and the note of it.
    """
    with store.connect() as connection:
        rows = connection.execute("SELECT message_id, recipient, sent FROM outbox").fetchall()
    taken = Counter(str(message["Message-ID"]) for message in box.messages)
    assert [row for row in rows if row[2] is None] == []
    assert set(taken) == {name for name, _, _ in rows}
    recipients = {name: to for name, to, _ in rows}
    assert all(message["To"] == recipients[str(message["Message-ID"])] for message in box.messages)
    assert taken.total() - len(taken) <= chances
    for content in (content for _, _, content in box.taken):
        assert TOKEN.encode() not in content
        assert PASSWORD.encode() not in content
    return {"mails": len(taken), "sent twice": taken.total() - len(taken)}


def check_links(box: Mailbox, front: Address) -> int:
    """Each link that a mail holds shows the page of its job; returns how many there are."""
    links = set()
    for message in box.messages:
        body = message.get_body(("plain",))
        assert body is not None
        links |= set(re.findall(r"^http\S+", body.get_content(), re.MULTILINE))
    for link in links:
        assert front.ask(urlsplit(link).path).status == 200, link
    return len(links)


def find_token(folder: Path) -> list[str]:
    """Files that hold the token."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [str(path.relative_to(folder)) for path in files if TOKEN.encode() in path.read_bytes()]


def shown_token() -> list[str]:
    """Command lines of all processes that hold the token."""
    lines = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return [line for line in lines if TOKEN in line]
