"""The job service while its processes are killed at random: what ends, ends once, with the right bytes or a reason.

::

    python -m tests.jobs_chaos --kills 200            # the web's two processes, the keeper, runners
    python -m tests.jobs_chaos --kills 200 --cluster  # a scheduler and two workers are killed too

Jobs are asked for over HTTP all along; the archive and the mail server fail now and then. In the end the jobs, their
bytes, the tables, the mails and their links are looked at.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config import settings
from pipeline.jobs.job import QUEUED
from pipeline.jobs.store import JobStore
from tests.archive_contents import Archive
from tests.archive_server import serving
from tests.job_service import FIELDS, PLUGIN, TOKEN, environment, make_archive
from tests.jobs_chaos_checks import check_links, check_mails, check_results, check_tables, find_token, shown_token
from tests.jobs_chaos_service import ChaosService
from tests.mailbox import Mailbox, receiving

# So small that a job takes a second or two, so that many come to their end between two kills.
ASKED = {**FIELDS, "y_range": "0,32", "x_range": "0,32", "pause": "0.05"}
PEOPLE = ("ada@lab.example", "grace@lab.example", "edith@lab.example")
LIMITS = {"JOB_LEASE_SECONDS": 5, "JOB_ATTEMPTS": 20, "JOB_CONCURRENCY": 2, "CONNECT_SECONDS": 3, "CANCEL_SECONDS": 2}
WAITING = 3  # jobs that wait, at least
CALM_SECONDS = 2.5  # between two kills on the average; some follow each other at once, some leave time for a job
LONGEST_CALM = 15.0
PEACE_EVERY = 10  # kills; then none until a job has ended
PEACE_SECONDS = 45.0  # at most
END_SECONDS = 900.0  # for what is left to be done when nobody kills any more


@dataclass
class Chaos:
    """A service that is being shot at, and the people who use it.

    Parameters
    ----------
    service : ChaosService
    archive : Archive
    box : Mailbox
    waiting : int
        Jobs that wait, at least.
    first : list of str
        What is killed first; then chance decides.
    """

    service: ChaosService
    archive: Archive
    box: Mailbox
    waiting: int
    first: list[str]
    promised: set[str] = field(default_factory=set)  # ids of the jobs that the server has taken
    asked: int = 0
    unanswered: int = 0
    shown: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def random(self) -> random.Random:
        """Where all chance comes from."""
        return self.service.random

    def use(self) -> None:
        """Ask for jobs, for one that was asked for before too, and look at them."""
        waiting = len(JobStore().list((QUEUED,)))
        if self._submit(self.random.randrange(self.asked + 1), self.random.choice(PEOPLE)):
            for _ in range(self.waiting - waiting):
                self._submit(self.asked + 1, PEOPLE[0])
        for place in ("/jobs", "/api/v1/jobs"):
            self._ask("GET", place)

    def harm(self) -> None:
        """Let the archive and the mail server fail for a while, and kill a process."""
        if self.random.random() < 0.2:
            kind = self.random.choice(["500", "503", "drop"])
            self.archive.fail(kind, "/cutout/", times=self.random.randint(1, 4))
        if self.random.random() < 0.1:
            self.box.answers["DATA"] = "451 come again"
        else:
            self.box.answers.clear()
        if self.service.kill_one(self.first[0] if self.first else None) is not None:
            self.first = self.first[1:]
        self.shown += shown_token()

    def rest(self) -> None:
        """Kill nothing until a job has ended, so that not all of them end after the last kill."""
        self.box.answers.clear()
        until, before = time.monotonic() + PEACE_SECONDS, _ended()
        while _ended() == before and time.monotonic() < until:
            self.service.revive()
            time.sleep(0.2)

    def settle(self) -> None:
        """Wait until all jobs have ended and all mails are sent."""
        self.box.answers.clear()
        until = time.monotonic() + END_SECONDS
        while left := [(job.id, job.state, job.reason) for job in JobStore().list(limit=10_000) if not job.finished]:
            assert time.monotonic() < until, left
            self.service.revive()
            time.sleep(0.2)
        while (count := _mails_due()) or not self._ask("GET", "/api/v1/jobs"):
            assert time.monotonic() < until, f"{count} mails were not sent"
            self.service.revive()
            time.sleep(0.2)

    def check(self) -> dict[str, Any]:
        """Look at all that is left; figures about it."""
        store, kills = JobStore(), self.service.kills
        states = check_results(store, self.archive)
        check_tables(store)
        assert self.promised <= {job.id for job in store.list(limit=10_000)}
        mails = check_mails(store, self.box, kills["web"] + kills["keeper"])
        return {
            "kills": kills.total(),
            "killed": dict(kills),
            "started": dict(self.service.starts),
            "jobs": dict(states),
            "asked": self.asked,
            "requests without an answer": self.unanswered,
            **mails,
            "links": check_links(self.box, self.service.front),
            "minutes": round(self.seconds / 60, 1),
        }

    def _submit(self, number: int, person: str) -> bool:
        """Ask for a job; whether there was an answer. Without one it may have been created, or not."""
        fields = {**ASKED, "threshold": str(number % 256), "email": person}
        reply = self._ask("POST", "/api/v1/jobs", json.dumps(fields).encode())
        if reply and "id" in reply:
            self.promised.add(reply["id"])
            self.asked = max(self.asked, number)
        return reply is not None

    def _ask(self, method: str, place: str, body: bytes | None = None) -> dict[str, Any] | None:
        """An answer of the server; empty where there is none to be had now, None if there was no whole answer."""
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            reply = self.service.front.ask(place, method=method, headers=headers, body=body)
        except (OSError, http.client.HTTPException):
            self.unanswered += 1
            return None
        assert reply.status in (200, 202, 503), (reply.status, reply.text)
        assert TOKEN not in reply.text
        return reply.document if reply.headers["Content-Type"] == "application/json" else {}


def run_chaos(
    folder: Path,
    archive: Archive,
    kills: int,
    *,
    cluster: bool = False,
    seed: int = 0,
    waiting: int = WAITING,
    first: Sequence[str] = (),
) -> dict[str, Any]:
    """Kill so often, then wait until all jobs have ended, and check what became of them; returns figures."""
    with receiving(folder) as box:
        variables = {**environment(folder, archive, **LIMITS), **box.environment(), "VOXELFOREST_SMTP_SECONDS": "20"}
        service = ChaosService(folder, variables, cluster, random.Random(seed))
        chaos = Chaos(service, archive, box, waiting, list(first))
        begun = time.monotonic()
        chaos.service.start_all()
        try:
            while (done := chaos.service.kills.total()) < kills or not chaos.promised:
                chaos.service.revive()
                chaos.use()
                if chaos.promised and done < kills:
                    time.sleep(min(chaos.random.expovariate(1 / CALM_SECONDS), LONGEST_CALM))
                    chaos.harm()
                    if (done := chaos.service.kills.total()) % PEACE_EVERY == 0:
                        print(f"{done} of {kills} kills, {len(chaos.promised)} jobs, {_ended()} ended", flush=True)
                        chaos.rest()
                time.sleep(0.1)
            chaos.settle()
            chaos.seconds = time.monotonic() - begun
            figures = chaos.check()
        finally:
            chaos.service.stop()
    assert chaos.shown == []
    assert find_token(folder) == []
    return {"seed": seed, "cluster": cluster, **figures}


def _ended() -> int:
    return sum(job.finished for job in JobStore().list(limit=10_000))


def _mails_due() -> int:
    with JobStore().connect() as connection:
        (count,) = connection.execute("SELECT count(*) FROM outbox WHERE due IS NOT NULL").fetchone()
    return int(count)


@contextlib.contextmanager
def surroundings(folder: Path) -> Iterator[Archive]:
    """An archive, and settings of this process that lead there."""
    with serving(make_archive()) as archive:
        os.environ.update(environment(folder, archive, **LIMITS))
        sys.path.insert(0, str(PLUGIN))
        settings.cache_clear()
        yield archive


def main() -> None:
    """Kill as often as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, help="file for the figures, as tests/jobs_chaos.json")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="jobs-chaos-"))
    print(f"seed {given.seed}, in {folder}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with surroundings(folder) as archive:
        figures = run_chaos(folder, archive, given.kills, cluster=given.cluster, seed=given.seed)
    text = json.dumps(figures, indent=1) + "\n"
    print(text, flush=True)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
