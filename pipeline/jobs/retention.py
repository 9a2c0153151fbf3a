"""What is removed in time: jobs that ended long ago with their results, and what killed processes left."""

from __future__ import annotations

import shutil
import time

from pipeline.config import settings
from pipeline.durability import write_errors
from pipeline.jobs.job import DONE, ENDED
from pipeline.jobs.results import PLACE, results_of
from pipeline.jobs.store import JobStore

DAY = 86400.0
REMOVED = ".removed"  # what the folder of a job ends in while it is removed
LEFTOVERS = ("", ".partial", ".replaced")  # of a job's folder


def tidy(store: JobStore) -> int:
    """Remove jobs that ended longer ago than the setting ``job_days`` says; returns how many.

    Raises
    ------
    WriteError
        If a folder cannot be removed, or a bucket does not do what is asked.
    """
    if not store.exists:
        return 0
    store.vault.sweep(store.secrets())
    with write_errors(store.folder):
        _set_copies_aside(store)
        for left in store.folder.glob(f"*{REMOVED}"):
            shutil.rmtree(left)
    days = settings().job_days
    if not days:
        return 0
    before = time.time() - days * DAY
    states = ", ".join(f"'{state}'" for state in ENDED)
    with store.connect() as connection:
        rows = connection.execute(f"SELECT id FROM jobs WHERE state IN ({states}) AND ended < ?", (before,)).fetchall()
    return sum(_remove(store, job, before) for (job,) in rows)


def _set_copies_aside(store: JobStore) -> None:
    """Rename folders of results that were put into a bucket, whose removal a kill prevented."""
    with store.transaction() as connection:
        query = "SELECT id FROM jobs WHERE state = ? AND json_extract(results, ?) NOTNULL"
        for (job,) in connection.execute(query, (DONE, f"$.{PLACE}")).fetchall():
            if (store.folder / job).exists():
                (store.folder / job).rename(store.folder / f"{job}{REMOVED}")


def _remove(store: JobStore, job: str, before: float) -> bool:
    """Remove a job, unless it was started again meanwhile: first its folder's name, then its row, then the files.

    What lies in a bucket goes before all that, since a name without its row would never be found again.
    """
    found = store.get(job)
    if found.state == DONE and PLACE in found.results:
        results_of(found).remove()
    removed = [store.folder / f"{job}{ending}{REMOVED}" for ending in LEFTOVERS]
    with write_errors(store.folder), store.transaction() as connection:
        row = connection.execute("SELECT ended FROM jobs WHERE id = ?", (job,)).fetchone()
        if row is None or row[0] is None or row[0] >= before:
            return False
        for ending, target in zip(LEFTOVERS, removed, strict=True):
            folder = store.folder / f"{job}{ending}"
            if folder.exists():
                folder.rename(target)
        connection.execute("DELETE FROM jobs WHERE id = ?", (job,))
    with write_errors(store.folder):
        for target in removed:
            if target.exists():
                shutil.rmtree(target)
    return True
