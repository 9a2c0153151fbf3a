"""Reads through real Dask clusters: what is computed once, kept, dropped, made again, refused and given up."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from distributed import KilledWorker

from pipeline.errors import (
    AbandonedError,
    ClusterError,
    ReadError,
    RegionError,
    TooLargeError,
    UnknownError,
)
from pipeline.serving import recipe
from pipeline.serving.engine import Engine
from tests.pipeline.serving.conftest import Gate, Limit, Start
from tests.served import make_served, probabilities_of, read_whole, running_scheduler, wait_for

Array = npt.NDArray[Any]
FORKING = """
import os, sys
from pipeline.serving.catalogue import Catalogue
from pipeline.serving.configuration import configure
from pipeline.serving.engine import Engine

engine = Engine(Catalogue.open(configure(None, sys.argv[1] + "/raw.npy", axes="yx")), workers=1)
layer = engine.catalogue.layer("raw", "raw")
read, write = os.pipe()
child = os.fork()
shape = engine.read(layer, 0, (0, 0), (70, 93)).shape
engine.close()
if child == 0:
    os.write(write, str(shape[0]).encode())
    os._exit(0)
os.waitpid(child, 0)
print(os.read(read, 9).decode(), shape[0])
"""
CHUNK = ((0, 0, 0, 0), (3, 16, 16, 16))


def test_a_stampede_on_one_cold_block_is_one_computation(start: Start) -> None:
    engine = start()
    layer = probabilities_of(engine)
    barrier = threading.Barrier(300)

    def read(_: int) -> Array:
        barrier.wait()
        return engine.read(layer, 0, *CHUNK)

    with ThreadPoolExecutor(300) as threads:
        results = list(threads.map(read, range(300)))
    assert engine.statistics()["misses"] == 1
    for result in results:
        np.testing.assert_array_equal(result, results[0])


def test_what_is_there_is_not_computed_again_and_is_the_same_memory(start: Start) -> None:
    engine = start()
    layer = probabilities_of(engine)
    first, second = engine.read(layer, 0, *CHUNK), engine.read(layer, 0, *CHUNK)
    assert np.shares_memory(first, second)
    assert engine.statistics()["misses"] == 1
    assert engine.statistics()["hits"] == 1
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0


def test_segmentation_and_uncertainty_share_the_probabilities(start: Start) -> None:
    engine = start()
    for name in ("probabilities", "segmentation", "uncertainty"):
        layer = engine.catalogue.layer("raw", name)
        engine.read(layer, 0, *(CHUNK if "c" in layer.dims else (CHUNK[0][1:], CHUNK[1][1:])))
    assert engine.statistics()["misses"] == 3


def test_kept_bytes_stay_below_the_limit_and_the_oldest_go_first(start: Start) -> None:
    chunk = 3 * 16**3 * 4
    engine = start(cache_bytes=3 * chunk)
    layer = probabilities_of(engine)
    reads = [((0, z, y, x), (3, z + 16, y + 16, x + 16)) for z in (0, 16) for y in (0, 16) for x in (0, 16)]
    for read in reads:
        engine.read(layer, 0, *read)
        assert engine.statistics()["cached_bytes"] <= 3 * chunk
    assert engine.statistics()["evictions"] == 5
    engine.read(layer, 0, *reads[-1])
    assert engine.statistics()["misses"] == 8
    engine.read(layer, 0, *reads[0])
    assert engine.statistics()["misses"] == 9


def test_blocks_in_the_making_are_not_dropped_for_room(start: Start, slow: Gate) -> None:
    engine = start(cache_bytes=1)
    layer = probabilities_of(engine)
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(engine.read, layer, 0, (0, 0, 0, 0), (3, 32, 16, 16))
        wait_for(lambda: engine.statistics()["in_flight"] == 2)
        assert engine.statistics()["evictions"] == 0
        slow()
        assert reading.result().shape == (3, 32, 16, 16)
    wait_for(lambda: engine.statistics()["cached_bytes"] == 0)


def test_an_error_is_not_kept(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = start()
    layer = probabilities_of(engine)
    compute = recipe.ProbabilityRecipe.compute
    monkeypatch.setattr(recipe.ProbabilityRecipe, "compute", _raise(ReadError("damaged")))
    for _ in range(2):
        with pytest.raises(ReadError, match="damaged"):
            engine.read(layer, 0, *CHUNK)
    monkeypatch.setattr(recipe.ProbabilityRecipe, "compute", compute)
    assert engine.read(layer, 0, *CHUNK).shape == (3, 16, 16, 16)
    segmentation = engine.catalogue.layer("raw", "segmentation")
    monkeypatch.setattr(recipe.ProbabilityRecipe, "compute", _raise(ReadError("gone")))
    with pytest.raises(ReadError, match="gone"):
        engine.read(segmentation, 0, (16, 16, 16), (32, 32, 32))
    monkeypatch.setattr(recipe.ProbabilityRecipe, "compute", compute)
    assert engine.read(segmentation, 0, (16, 16, 16), (32, 32, 32)).min() > 0


def test_what_may_pass_is_tried_again_a_bounded_number_of_times(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = start()
    layer = probabilities_of(engine)
    compute, tries = recipe.ProbabilityRecipe.compute, []

    def fail_twice(self: recipe.ProbabilityRecipe, level: int, box: Any) -> Array:
        tries.append(box)
        if len(tries) <= 2:
            raise OSError("the disk hiccuped")
        return compute(self, level, box)

    monkeypatch.setattr(recipe.ProbabilityRecipe, "compute", fail_twice)
    assert engine.read(layer, 0, *CHUNK).shape == (3, 16, 16, 16)
    assert len(tries) == 3
    monkeypatch.setattr(recipe.ProbabilityRecipe, "compute", _raise(OSError("gone for good")))
    with pytest.raises(ClusterError, match="3 attempts: gone for good"):
        engine.read(layer, 0, (0, 16, 16, 16), (3, 32, 32, 32))


def test_deaths_of_workers_are_forgiven_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = start()
    layer = probabilities_of(engine)
    compute, died = recipe.ProbabilityRecipe.compute, list[Any]()
    killed = KilledWorker("block", SimpleNamespace(address="tcp://gone"), 3)

    def die_once(self: recipe.ProbabilityRecipe, level: int, box: Any) -> Array:
        if not died:
            died.append(box)
            raise killed
        return compute(self, level, box)

    monkeypatch.setattr(recipe.ProbabilityRecipe, "compute", die_once)
    assert engine.read(layer, 0, *CHUNK).shape == (3, 16, 16, 16)
    monkeypatch.setattr(recipe.ProbabilityRecipe, "compute", _raise(killed))
    with pytest.raises(ClusterError, match="4 workers died"):
        engine.read(layer, 0, (0, 16, 16, 16), (3, 32, 32, 32))


def _raise(error: Exception) -> Callable[..., Array]:
    def compute(self: recipe.ProbabilityRecipe, level: int, box: Any) -> Array:
        raise error

    return compute


def test_abandoned_work_is_released(start: Start, slow: Gate, limit: Limit) -> None:
    limit("viewer_tasks", 100)
    engine = start(workers=1)
    layer = engine.catalogue.layer("raw", "segmentation")
    left = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(engine.read, layer, 0, (0, 0, 0), (16, 48, 41), abandoned=lambda: left.is_set())
        wait_for(lambda: engine.statistics()["in_flight"] >= 8)
        left.set()
        with pytest.raises(AbandonedError):
            reading.result()
    assert engine.statistics()["in_flight"] == 0
    assert engine.statistics()["abandoned"] >= 8
    slow()
    engine.read(layer, 0, (16, 0, 0), (32, 16, 16))
    assert _tasks(engine) <= 4  # two blocks, two recipes: what was given up is gone from the scheduler
    assert engine.read(layer, 0, (0, 0, 0), (16, 48, 41)).shape == (16, 48, 41)


def _tasks(engine: Engine) -> int:
    client = engine._session.client()
    wait_for(lambda: len(client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))) <= 4)
    return len(client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks)))


def test_work_that_somebody_else_waits_for_goes_on(start: Start, slow: Gate) -> None:
    engine = start()
    layer = engine.catalogue.layer("raw", "segmentation")
    box = (0, 0, 0), (16, 16, 16)
    left = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(engine.read, layer, 0, *box, abandoned=left.is_set)
        wait_for(lambda: engine.statistics()["in_flight"] == 2)
        second = threads.submit(engine.read, layer, 0, *box)
        wait_for(lambda: engine.statistics()["joined"] >= 1)
        left.set()
        with pytest.raises(AbandonedError):
            first.result()
        assert engine.statistics()["in_flight"] == 2
        slow()
        assert second.result().shape == (16, 16, 16)
    assert engine.statistics()["misses"] == 2


@pytest.mark.parametrize(
    ("level", "start_at", "stop_at", "error", "words"),
    [
        (9, (0, 0, 0, 0), (1, 1, 1, 1), UnknownError, "level 9"),
        (-1, (0, 0, 0, 0), (1, 1, 1, 1), UnknownError, "level -1"),
        (0, (0, 0, 0, 0), (3, 38, 50, 41), RegionError, "out of level 0 of probabilities: c=3, z=37, y=50, x=41"),
        (0, (0, 5, 0, 0), (3, 5, 50, 41), RegionError, "empty"),
        (0, (0, -1, 0, 0), (3, 5, 50, 41), RegionError, "empty or reaches out"),
        (0, (0, 0), (3, 5), RegionError, "empty or reaches out"),
        (0, (0, 0, 0, 0), (3, 37, 50, 41), TooLargeError, "0.9 MiB; one request may ask for 0.5 MiB"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    level: int, start_at: Any, stop_at: Any, error: type[Exception], words: str, start: Start, limit: Limit
) -> None:
    limit("request_bytes", "512KiB")
    engine = start()
    with pytest.raises(error, match=words):
        engine.read(probabilities_of(engine), level, start_at, stop_at)
    assert not engine.ready()  # nothing was begun for it


def test_engine_that_was_closed_starts_anew(start: Start) -> None:
    engine = start()
    layer = probabilities_of(engine)
    before = engine.read(layer, 0, *CHUNK)
    engine.close()
    assert engine.statistics()["cached_bytes"] == 0
    np.testing.assert_array_equal(engine.read(layer, 0, *CHUNK), before)


def test_forked_processes_make_clients_of_their_own(tmp_path: Path) -> None:
    make_served(tmp_path, "yx", (70, 93))
    done = subprocess.run([sys.executable, "-c", FORKING, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "70 70\n"


def test_two_engines_of_one_scheduler_share_blocks_and_survive_the_loss_of_a_worker(start: Start) -> None:
    with running_scheduler(workers=2) as cluster:
        one, two = (start(scheduler=cluster.address) for _ in range(2))
        layer = probabilities_of(one)
        expected = read_whole(start(), layer)
        with ThreadPoolExecutor(2) as threads:
            for values in threads.map(lambda engine: read_whole(engine, layer), (one, two)):
                np.testing.assert_array_equal(values, expected)
        blocks = cluster.count("probabilities")
        assert blocks == one.statistics()["misses"] == two.statistics()["misses"]
        cluster.kill_worker()
        np.testing.assert_array_equal(read_whole(one, layer), expected)
        np.testing.assert_array_equal(read_whole(two, layer), expected)
        for engine in (one, two):
            engine.close()
    gc.collect()
