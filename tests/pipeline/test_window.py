"""The bounded window: each item once, few in flight, and what happens when tasks, workers or people stop it."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import numpy as np
import pytest
from distributed import Client

from pipeline.cluster import connect
from pipeline.config import settings
from pipeline.errors import CancelledError, ClusterError, PipelineError, ReadError, WriteError
from pipeline.window import Failure, run_windowed

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def threads() -> Iterator[Client]:
    with connect("threads", 2) as client:
        yield client


@pytest.fixture(scope="module")
def processes() -> Iterator[Client]:
    with connect("local", 2) as client:
        yield client


def _square(item: int) -> int:
    return item * item


def _logged(folder: Path, item: int) -> None:
    """Leave one line a call, then act as the name of the folder says."""
    with (folder / str(item)).open("a") as log:
        log.write("called\n")


def _calls(folder: Path) -> dict[int, int]:
    return {int(path.name): len(path.read_text().splitlines()) for path in folder.iterdir()}


def _fail_first(folder: Path, error: type[Exception], item: int) -> int:
    _logged(folder, item)
    if item == 3 and _calls(folder)[3] == 1:
        raise error("as planned")
    return item


def _fail_always(folder: Path, error: type[Exception], item: int) -> int:
    _logged(folder, item)
    if item == 3:
        raise error("as planned")
    return item


def _die_first(folder: Path, item: int) -> int:
    _logged(folder, item)
    if item == 3 and _calls(folder)[3] == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def _die_always(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.mark.parametrize("window", [1, 3, 64])
def test_each_item_runs_once(threads: Client, window: int) -> None:
    results: list[tuple[int, int]] = []
    run_windowed(
        threads, _square, range(20), window=window, key_prefix=f"once{window}", on_done=lambda *r: results.append(r)
    )
    assert sorted(results) == [(item, item * item) for item in range(20)]


def test_no_items_end_at_once(threads: Client) -> None:
    assert run_windowed(threads, _square, [], window=4, key_prefix="none") == []


def test_items_are_taken_a_window_ahead(threads: Client) -> None:
    taken: list[int] = []
    done: list[int] = []
    ahead: list[int] = []

    def items() -> Iterator[int]:
        for item in range(30):
            taken.append(item)
            yield item

    def on_done(item: int, result: int) -> None:
        done.append(item)
        ahead.append(len(taken) - len(done))

    run_windowed(threads, _square, items(), window=4, key_prefix="ahead", on_done=on_done)
    assert max(ahead) <= 4


class _Counted:
    """Counts how often it is unpickled, in a file."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__dict__.update(state)
        with self.log.open("a") as log:
            log.write("unpickled\n")


def _use_shared(shared: _Counted, array: np.ndarray, item: int) -> float:
    return float(array[item])


def test_shared_arguments_travel_once(processes: Client, tmp_path: Path) -> None:
    log = tmp_path / "log"
    array = np.arange(20.0)
    results: list[float] = []
    run_windowed(
        processes, _use_shared, range(20), window=4, key_prefix="shared", shared=[_Counted(log), array],
        on_done=lambda item, result: results.append(result),
    )  # fmt: skip
    assert sorted(results) == list(array)
    assert len(log.read_text().splitlines()) < 8


def test_a_failing_task_is_repeated(threads: Client, tmp_path: Path) -> None:
    task = functools.partial(_fail_first, tmp_path, OSError)
    assert run_windowed(threads, task, range(6), window=2, key_prefix="again", retries=1) == []
    assert _calls(tmp_path) == {0: 1, 1: 1, 2: 1, 3: 2, 4: 1, 5: 1}


@pytest.mark.parametrize(
    ("error", "calls"),
    [(OSError, 3), (ReadError, 3), (WriteError, 1)],  # a disk that is full stays so, a file may only be slow to appear
)
def test_error_that_stays_is_raised(threads: Client, tmp_path: Path, error: type[Exception], calls: int) -> None:
    task = functools.partial(_fail_always, tmp_path, error)
    with pytest.raises(error, match="as planned"):
        run_windowed(threads, task, range(100), window=2, key_prefix=f"stays-{error.__name__}", retries=2)
    assert _calls(tmp_path)[3] == calls
    assert len(_calls(tmp_path)) < 50


def test_keep_going_returns_the_failures(threads: Client, tmp_path: Path) -> None:
    task = functools.partial(_fail_always, tmp_path, ReadError)
    [failure] = run_windowed(threads, task, range(10), window=2, key_prefix="on", keep_going=ReadError)
    assert isinstance(failure, Failure)
    assert failure.item == 3
    assert isinstance(failure.error, ReadError)
    assert set(_calls(tmp_path)) == set(range(10))


def test_other_errors_and_too_many_of_these_end_the_run(
    threads: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = functools.partial(_fail_always, tmp_path, WriteError)
    with pytest.raises(WriteError, match="as planned"):
        run_windowed(threads, task, range(10), window=2, key_prefix="other", keep_going=ReadError)
    monkeypatch.setenv("VOXELFOREST_DAMAGED_BLOCKS", "0")
    settings.cache_clear()
    task = functools.partial(_fail_always, tmp_path, ReadError)
    try:
        with pytest.raises(ReadError, match="as planned"):
            run_windowed(threads, task, range(10), window=2, key_prefix="many", keep_going=ReadError)
    finally:
        settings.cache_clear()


def test_killed_worker_costs_nothing_but_time(processes: Client, tmp_path: Path) -> None:
    results: dict[int, int] = {}
    task = functools.partial(_die_first, tmp_path)
    run_windowed(processes, task, range(12), window=4, key_prefix="die", retries=0, on_done=results.__setitem__)
    assert results == {item: item for item in range(12)}
    assert _calls(tmp_path)[3] == 2


@pytest.fixture(scope="module")
def impatient() -> Iterator[Client]:
    """A scheduler that gives a task up when the first worker dies over it, and a worker process."""
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), connect("local", 1) as client:
        yield client


def test_task_that_dask_gave_up_is_begun_anew(impatient: Client, tmp_path: Path) -> None:
    task = functools.partial(_die_first, tmp_path)
    assert run_windowed(impatient, task, [2, 3, 4], window=3, key_prefix="anew", retries=0) == []
    assert _calls(tmp_path)[3] == 2


def test_task_that_kills_its_workers_is_given_up(impatient: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXELFOREST_BLOCK_DEATHS", "1")
    settings.cache_clear()
    try:
        with pytest.raises(ClusterError, match="Block 3 was given up: 2 workers died"):
            run_windowed(impatient, _die_always, [3], window=1, key_prefix="killer", keep_going=PipelineError)
    finally:
        settings.cache_clear()


def _slow(started: threading.Event, gate: threading.Event, log: list[int], item: int) -> int:
    started.set()
    gate.wait(10)
    log.append(item)
    return item


@pytest.mark.parametrize("why", [CancelledError, KeyboardInterrupt, PipelineError])
def test_giving_up_waits_for_what_runs_and_drops_the_rest(threads: Client, why: type[BaseException]) -> None:
    started, gate = threading.Event(), threading.Event()
    log: list[int] = []

    def stop() -> bool:
        if not started.is_set():
            return False
        threading.Timer(0.2, gate.set).start()
        if why is not CancelledError:
            raise why("stop")
        return True

    _Local.task = functools.partial(_slow, started, gate, log)
    with pytest.raises(why):
        run_windowed(threads, _Local.call, range(8), window=8, key_prefix=f"stop-{why.__name__}", cancelled=stop)
    assert gate.is_set()
    settled = len(log)
    assert 1 <= settled <= 2  # one for each thread
    time.sleep(0.1)
    assert len(log) == settled


class _Local:
    """A way around pickling: what a task of this very process is to do."""

    task: Callable[[int], int]

    @staticmethod
    def call(item: int) -> int:
        return _Local.task(item)


INTERRUPTED = """
import signal, sys, time
from pipeline.cluster import connect
from pipeline.window import run_windowed

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
    with connect(sys.argv[1], 2) as client:
        try:
            run_windowed(client, time.sleep, [0.01] + [0.5] * 100, window=4, key_prefix="nap",
                         on_done=lambda item, result: print("running", flush=True))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""


@pytest.mark.parametrize("kind", ["threads", "local"])
def test_interrupt_from_the_terminal_ends_cleanly(kind: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    process = subprocess.Popen(
        [sys.executable, str(script), kind],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    out, err = process.communicate(timeout=60)
    assert out.endswith("interrupted\n")
    assert err == ""
    assert process.returncode == 0
