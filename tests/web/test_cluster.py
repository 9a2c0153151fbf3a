"""Two answering processes over one scheduler: what one has had made, the other finds, and whatever may die dies."""

from __future__ import annotations

import contextlib
import http.client
import io
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings

from pipeline.labelling import label_frame
from pipeline.lazy import predict
from pipeline.project import open_project
from pipeline.thresholding import Thresholding
from pipeline.volume import as_array
from tests.runs import open_input
from tests.served import Cluster, kill, running_scheduler, wait_for
from tests.servers import SMALL, Reply, Server, serving
from tests.web.old_boxes import Array

VOLUME = "/api/v1/volumes/in_3d_u8/layers"
SHAPE = (37, 40, 38)
SIDE = 16  # of a chunk
VIEWERS = 6
PACE_SECONDS = 0.25  # a viewer asks four times a second
# Little is kept, and nothing in front of the app, so that blocks are made again and again.
SMALL_CACHE = {**SMALL, "VOXELFOREST_RESPONSE_CACHE": "0"}


@dataclass(frozen=True)
class Front:
    """A server with two answering processes, its cluster, and what it should answer."""

    server: Server
    cluster: Cluster
    probabilities: Array

    def ask_box(self, corner: tuple[int, ...], stop: tuple[int, ...]) -> Reply:
        """Probabilities of a box."""
        spans = "&".join(f"{axis}={a}:{b}" for axis, a, b in zip("zyx", corner, stop, strict=True))
        return self.server.ask(f"{VOLUME}/probabilities/roi?{spans}")

    def check(self, reply: Reply, corner: tuple[int, ...], stop: tuple[int, ...]) -> None:
        """An answer is the box, bit by bit."""
        assert reply.status == 200, reply.text
        inside = tuple(slice(a, b) for a, b in zip(corner, stop, strict=True))
        assert np.array_equal(np.load(io.BytesIO(reply.body)), self.probabilities[(slice(None), *inside)])


@pytest.fixture(scope="module")
def front(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    files = golden_dir / "projects" / "pc_3d.ilp", golden_dir / "in_3d_u8.npy"
    array, project = open_input(golden_dir, "pc_3d"), open_project(files[0])
    probabilities = np.asarray(predict(as_array(array), project, output="probabilities").compute())
    folder = tmp_path_factory.mktemp("front")
    with running_scheduler(workers=2) as cluster:
        scheduler = "--scheduler", cluster.address, "--workers", 2, "--cache", "1MiB"
        with serving(*files, "--axes", "zyx", *scheduler, folder=folder, environment=SMALL_CACHE) as server:
            yield Front(server, cluster, probabilities)


def _chunks() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """First and one past the last voxel of each chunk."""
    corners = [tuple(SIDE * i for i in at) for at in np.ndindex(*(-(-n // SIDE) for n in SHAPE))]
    return [(corner, tuple(min(a + SIDE, n) for a, n in zip(corner, SHAPE, strict=True))) for corner in corners]


def _blocks(server: Server) -> dict[str, float]:
    """How many blocks each answering process has asked for; each tells of itself alone, so one asks until both did."""
    found: dict[str, float] = {}
    for _ in range(200):
        for line in server.ask("/metrics").text.splitlines():
            if line.startswith("voxelforest_cache_misses_total"):
                name, count = line.rsplit(" ", 1)
                found[name] = float(count)
        if len(found) == 2:
            break
    return found


def _read_until_both_have_all(front: Front) -> None:
    """Ask for all chunks, over and over: which process answers is up to the system."""
    while min(found := _blocks(front.server).values()) < len(_chunks()) or len(found) < 2:
        for box in _chunks():
            front.check(front.ask_box(*box), *box)


def test_what_two_processes_are_asked_for_is_computed_once(front: Front) -> None:
    wanted = random.Random(0).sample(_chunks() * 4, 4 * len(_chunks()))
    with ThreadPoolExecutor(16) as pool:
        for box, reply in zip(wanted, pool.map(lambda box: front.ask_box(*box), wanted), strict=True):
            front.check(reply, *box)
    assert front.cluster.count("probabilities") == len(_chunks())
    assert min(_blocks(front.server).values()) > 0


def test_objects_are_found_once_for_both(front: Front) -> None:
    expected, _ = label_frame(front.probabilities, Thresholding())
    with ThreadPoolExecutor(8) as pool:
        for reply in pool.map(lambda _: front.server.ask(f"{VOLUME}/labels/roi"), range(8)):
            assert reply.status == 200, reply.text
            assert np.array_equal(np.load(io.BytesIO(reply.body)), expected)


def test_a_process_that_is_killed_is_started_again_and_finds_what_was_made(front: Front) -> None:
    _read_until_both_have_all(front)
    before = front.cluster.count("probabilities")
    victim, gone = front.server.workers()[0], 0
    with ThreadPoolExecutor(8) as pool:
        answers = [(box, pool.submit(front.ask_box, *box)) for box in _chunks() * 3]
        victim.kill()
        for box, answer in answers:
            try:
                reply = answer.result()
            except (http.client.HTTPException, ConnectionError):  # it died with this request in its hands
                gone += 1
            else:
                front.check(reply, *box)
    assert gone <= 8
    wait_for(lambda: len(_blocks(front.server)) == 2)
    _read_until_both_have_all(front)
    assert front.cluster.count("probabilities") == before


@dataclass
class Panning:
    """Viewers that ask for boxes here and there; those that a refusal may come back to ask for the next.

    Parameters
    ----------
    front : Front
    allowed : tuple of int
        Statuses that an answer may have; what comes with 200 is checked.
    """

    front: Front
    allowed: tuple[int, ...]
    statuses: Counter[int] = field(default_factory=Counter)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Pan while the context lasts, then see whether all went well."""
        with ThreadPoolExecutor(VIEWERS) as pool:
            done = [pool.submit(self._pan, seed) for seed in range(VIEWERS)]
            try:
                yield
            finally:
                self._over.set()
            for viewer in done:
                viewer.result()

    def wait_for_answers(self, count: int) -> None:
        """Until there are so many good ones more."""
        wanted = self.statuses[200] + count
        wait_for(lambda: self._over.is_set() or self.statuses[200] >= wanted)

    def _pan(self, seed: int) -> None:
        chance = random.Random(seed)
        try:
            while not self._over.wait(PACE_SECONDS):
                corner = tuple(chance.randrange(n - 8) for n in SHAPE)
                stop = tuple(chance.randrange(a + 1, n + 1) for a, n in zip(corner, SHAPE, strict=True))
                reply = self.front.ask_box(corner, stop)
                self.statuses[reply.status] += 1
                if reply.status not in self.allowed or reply.status == 200:
                    self.front.check(reply, corner, stop)
        finally:
            self._over.set()


def test_no_answer_is_wrong_or_missing_while_workers_die(front: Front) -> None:
    panning = Panning(front, allowed=(200,))
    with panning.running():
        for _ in range(1 if hypothesis_settings().derandomize else 20):
            time.sleep(3)
            front.cluster.kill_worker()
            front.cluster.add_workers(1)
        front.cluster.wait(2)
        panning.wait_for_answers(3 * VIEWERS)
    assert set(panning.statuses) == {200}


def test_a_scheduler_that_comes_back_is_found_again(front: Front) -> None:
    panning = Panning(front, allowed=(200, 503))
    with panning.running():
        panning.wait_for_answers(VIEWERS)
        kill(front.cluster.scheduler)
        wait_for(lambda: panning.statuses[503] > 0)
        reply = front.server.ask(f"{VOLUME}/uncertainty/roi?z=1:5&y=3:9&x=7:8")
        assert (reply.status, reply.headers["Retry-After"] is not None) == (503, True)
        front.cluster.start_scheduler()
        front.cluster.add_workers(1)
        front.cluster.wait(1)
        panning.wait_for_answers(3 * VIEWERS)
