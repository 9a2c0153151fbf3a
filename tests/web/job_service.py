"""The whole service: the server and its runner, a stand-in archive with synapses in it, and a mail server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from pipeline.jobs.store import JobStore
from pipeline.synapse_samples import synapses
from tests.archive_server import Archive
from tests.archive_server import serving as archiving
from tests.mailbox import Mailbox, receiving
from tests.servers import Reply, Server, serving
from tests.web.job_desk import FORM, KEY, TARGET, TOKEN

SOURCE = "collman/M247514_Rorb_1"
CONSTANT = "collman/constant"
START, SHAPE = (10, 20, 30), (24, 80, 96)
Index = tuple[int, int, int]


@dataclass(frozen=True)
class JobService:
    """All of it, running.

    Parameters
    ----------
    folder : Path
        Where all of it writes.
    """

    server: Server
    archive: Archive
    box: Mailbox
    folder: Path

    @property
    def store(self) -> JobStore:
        """The jobs, read from beside."""
        return JobStore(self.folder / "data" / "jobs.sqlite3")

    def submit(self, given: Mapping[str, str]) -> Reply:
        """Send the form as a script does."""
        return self.server.ask("/submit", method="POST", headers=FORM, body=urlencode(dict(given)).encode())

    def wait(self, place: str, *states: str, seconds: float = 240.0) -> dict[str, Any]:
        """The job's document, once it is in one of the states."""
        return wait_for(self.server, place, *states, seconds=seconds)


def wait_for(server: Server, place: str, *states: str, seconds: float = 240.0) -> dict[str, Any]:
    """The document of the job at a path, once it is in one of the states."""
    until = time.monotonic() + seconds
    while True:
        job: dict[str, Any] = server.ask(f"/api/v1{place}").document
        if job["state"] in states:
            return job
        assert time.monotonic() < until, job
        time.sleep(0.2)


def make_archive(shape: Index, start: Index = (0, 0, 0)) -> Archive:
    """An experiment of two channels with synapses, one whose PSD is constant, and one to push to."""
    archive = Archive({TOKEN: "rw", "readeralone": "r"})
    stop: Any = tuple(a + n for a, n in zip(start, shape, strict=True))
    sample = synapses(shape, seed=2)
    for name in (SOURCE, CONSTANT, TARGET):
        archive.add(name, stop, start)
    for name in ("PSD", "synapsin"):
        archive.add_channel(f"{SOURCE}/{name}", sample.channels[name])
    archive.add_channel(f"{CONSTANT}/PSD", np.full(shape, 7, np.uint8))
    archive.add_channel(f"{CONSTANT}/synapsin", sample.channels["synapsin"])
    return archive


@contextlib.contextmanager
def running(folder: Path, archive: Archive, **variables: str) -> Iterator[JobService]:
    """The service while the context lasts; `variables` are settings without their prefix."""
    (folder / "mail").mkdir()
    with archiving(archive), receiving(folder / "mail") as box:
        given = {"BOSS_URL": archive.url, "BOSS_PUSH": TARGET, "SECRET_KEY": KEY, **variables}
        environment = {**box.environment(), **{f"VOXELFOREST_{name}": value for name, value in given.items()}}
        with serving(folder=folder, environment=environment) as server:
            yield JobService(server, archive, box, folder)
