"""The app with jobs in this process, over sockets, beside a stand-in archive; nothing runs the jobs but the tests."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import zarr

from pipeline.analyses.result import DATA, DETECTIONS, OBJECTS
from pipeline.config import settings
from pipeline.images import ImageSpec
from pipeline.jobs.claims import Claim, take
from pipeline.jobs.job import Job
from pipeline.jobs.store import JobStore
from pipeline.metadata import image_attributes
from tests.archive_server import Archive
from tests.archive_server import serving as archiving
from tests.servers import Address, Reply, serving_here

TOKEN = "TokenOfAda0123456789"
SHAPE = (6, 20, 24)
TARGET = "collman_nomads/nomads_predictions"
KEY = "a key that signs links"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PAGE = {**FORM, "Accept": "text/html,application/xhtml+xml"}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Desk(Address):
    """The app, and what is beside it."""

    archive: Archive
    store: JobStore

    def submit(self, **changes: str) -> Reply:
        """Send the form as a script does."""
        return self.ask("/submit", method="POST", headers=FORM, body=urlencode(fields(**changes)).encode())

    def post(self, target: str, document: Any = None, headers: Mapping[str, str] = JSON) -> Reply:
        """Send JSON."""
        body = b"" if document is None else json.dumps(document).encode()
        return self.ask(target, method="POST", headers=headers, body=body)

    def make(self, **changes: str) -> Job:
        """A new job."""
        reply = self.submit(**changes)
        assert reply.status == 303, reply.text
        return self.store.get(reply.headers["Location"].removeprefix("/jobs/"))

    def take(self) -> Claim:
        """Be the runner of the job that has waited longest."""
        claim = take(self.store, "a test")
        assert claim is not None
        return claim

    def finish(self, **changes: str) -> Job:
        """A job with results."""
        job = self.make(**changes)
        claim = self.take()
        assert claim.job.id == job.id
        objects = write_results(job.folder)
        pushed = {f"{job.channel}_All": f"{self.archive.url}/x"}
        claim.finish({"objects": objects, "volumes": {"All": DETECTIONS}, "links": {}, "pushed": pushed})
        return self.store.get(job.id)


def fields(**changes: str) -> dict[str, str]:
    """The original's eight fields."""
    given = {
        "token": TOKEN,
        "col": "collman",
        "exp": "M247514_Rorb_1",
        "z_range": "0, 6",
        "y_range": "0,20",
        "x_range": " 0 , 24 ",
        "pipeline": "nomads-unsupervised",
        "email": "ada@lab.example",
    }
    return {**given, **changes}


@contextlib.contextmanager
def opening(folder: Path, **variables: str) -> Iterator[Desk]:
    """The app while the context lasts; `variables` are settings without their prefix."""
    archive = make_archive()
    np.save(folder / "raw.npy", np.zeros((4, 16, 16), np.uint8))
    with archiving(archive), pytest.MonkeyPatch.context() as patch:
        given = {"DATA_DIR": str(folder / "data"), "BOSS_URL": archive.url, "BOSS_PUSH": TARGET, "BOSS_RETRIES": "0"}
        for name, value in {**given, "SECRET_KEY": KEY, **variables}.items():
            patch.setenv(f"VOXELFOREST_{name}", value)
        settings.cache_clear()
        with serving_here(None, folder / "raw.npy", axes="zyx") as here:
            yield Desk(here.url, archive, JobStore())
    settings.cache_clear()


def make_archive() -> Archive:
    """An experiment of two channels, and one to push to."""
    archive = Archive({TOKEN: "rw", "readeralone": "r"})
    rng = np.random.default_rng(3)
    archive.add("collman/M247514_Rorb_1", SHAPE)
    archive.add("collman/other", SHAPE)
    archive.add(TARGET, SHAPE)
    for name in ("PSD95", "synapsin"):
        archive.add_channel(f"collman/M247514_Rorb_1/{name}", rng.integers(0, 200, SHAPE, np.uint8))
    archive.add_channel("collman/other/DAPI", rng.integers(0, 200, SHAPE, np.uint8))
    return archive


def write_results(folder: Path) -> int:
    """Results as an analysis leaves them, made up; returns the number of objects."""
    ids = np.zeros(SHAPE, np.uint64)
    ids[2, 3:7, 4:9], ids[2:4, 10:15, 12:17] = 1, 2
    spacing, units = {"z": 50.0, "y": 3.0, "x": 3.0}, dict.fromkeys("zyx", "nanometer")
    rng = np.random.default_rng(4)
    data = rng.integers(0, 255, (2, *SHAPE)).astype(np.uint8)
    more: dict[str, Any] = {"spacing": spacing, "units": units}
    found = (ids > 0).astype(np.uint8) * 255
    _write_image(folder / DETECTIONS, ImageSpec("detections", "zyx", SHAPE, SHAPE, "uint8", **more), found)
    labels = ImageSpec("objects", "zyx", SHAPE, SHAPE, "uint64", reduce="stride", **more)
    _write_image(folder / DETECTIONS / "labels" / OBJECTS, labels, ids)
    more["channel_names"] = ("PSD95", "synapsin")
    _write_image(folder / DATA, ImageSpec("data", "czyx", (2, *SHAPE), (2, *SHAPE), "uint8", **more), data)
    (folder / "table.csv").write_text("id,z,y,x,size\n1,2,5,6,20\n2,2,12,14,50\n", encoding="utf-8")
    (folder / "report.html").write_text("<!doctype html><title>Report</title><p>Two were found.", encoding="utf-8")
    (folder / "provenance.json").write_text('{"digest": "x"}', encoding="utf-8")
    return 2


def _write_image(path: Path, spec: ImageSpec, values: Any) -> None:
    group = zarr.open_group(path, mode="w")
    group.attrs.update({**image_attributes(spec, "0.5", {})})
    array = group.create_array("0", shape=values.shape, chunks=spec.chunks, dtype=values.dtype)
    array[...] = values
