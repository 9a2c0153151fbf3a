"""Clients of threads, processes and running schedulers; what is refused, and with which words."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client

from pipeline.cluster import check_place, connect, count_threads, expected_threads
from pipeline.clusters.terms import Terms
from pipeline.clusters.workers import Workers
from pipeline.config import settings
from pipeline.errors import ClusterError, PlanError, StoreError
from pipeline.window import run_windowed

DASK = [sys.executable, "-m", "dask"]
LOOPBACK = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]


def _listening() -> set[tuple[str, int]]:
    me = psutil.Process()
    sockets = [c for p in (me, *me.children(recursive=True)) for c in p.net_connections() if c.status == "LISTEN"]
    return {(c.laddr.ip, c.laddr.port) for c in sockets}


@pytest.mark.parametrize("kind", ["threads", "local"])
def test_local_kinds_compute_with_the_workers_asked_for_and_clean_up(kind: str, no_leaks: None) -> None:
    with connect(kind, 2) as client:
        assert count_threads(client) == 2
        assert client.submit(math.sqrt, 9.0).result() == 3.0


@pytest.mark.parametrize("kind", ["threads", "local"])
def test_nothing_listens_beyond_loopback(kind: str) -> None:
    before = _listening()
    with connect(kind, 1):
        assert {ip for ip, _ in _listening() - before} <= {"127.0.0.1"}


@pytest.mark.parametrize("kind", ["ec3", "", "localhost:8786", "http://x"])
def test_unknown_scheduler_lists_what_there_is(kind: str) -> None:
    with pytest.raises(PlanError, match="choose threads, local, ec2, or") as caught, connect(kind):
        pass
    assert caught.value.code == "scheduler"


def test_no_workers_are_refused() -> None:
    with pytest.raises(PlanError, match="0 workers"), connect("threads", 0):
        pass


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("VOXELFOREST_CONNECT_SECONDS", "1")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.usefixtures("_impatient")
def test_unreachable_scheduler_is_one_sentence() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(ClusterError, match=f"No Dask scheduler can be used at {address}: ") as caught, connect(address):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("_impatient")
def test_tls_without_certificates_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"can be used at .*VOXELFOREST_TLS_CA"), connect("tls://127.0.0.1:1"):
        pass


@pytest.mark.usefixtures("_impatient")
def test_port_that_never_answers_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ClusterError, match=r"No Dask scheduler can be used at .*: .+"), connect(address):
            pass


@pytest.mark.usefixtures("_impatient")
def test_refusals_leave_no_threads_behind() -> None:
    before = set(threading.enumerate())
    with pytest.raises(ClusterError), connect("tls://127.0.0.1:1"):
        pass
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not any("loop" in name.lower() for name in left), left


@pytest.mark.parametrize("address", ["tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:none"])
@pytest.mark.usefixtures("_impatient")
def test_incomplete_address_is_refused(address: str) -> None:
    with pytest.raises(ClusterError, match="No Dask scheduler can be used"), connect(address):
        pass


@contextlib.contextmanager
def _process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def scheduler_address(tmp_path: Path) -> Iterator[str]:
    """A scheduler in a process of its own, without workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _process(*DASK, "scheduler", *LOOPBACK, "--port", str(port)):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield f"tcp://127.0.0.1:{port}"


@contextlib.contextmanager
def _worker(address: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with two threads in a process of its own, once the scheduler knows it."""
    with _process(*DASK, "worker", address, *LOOPBACK, "--nworkers", "1", "--nthreads", "2") as process:
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
        yield process


@pytest.mark.usefixtures("_impatient")
def test_scheduler_without_workers_says_how_to_start_one(scheduler_address: str) -> None:
    sentence = rf"0 of 1 workers .* dask worker {scheduler_address}"
    with pytest.raises(ClusterError, match=sentence), connect(scheduler_address):
        pass


def test_running_scheduler_is_used_and_left_running(scheduler_address: str) -> None:
    with _worker(scheduler_address) as worker:
        for _ in range(2):
            with connect(scheduler_address) as client:
                assert count_threads(client) == 2
                assert client.submit(math.sqrt, 9.0).result() == 3.0
        assert worker.poll() is None


def test_worker_with_other_versions_is_refused(monkeypatch: pytest.MonkeyPatch, scheduler_address: str) -> None:
    monkeypatch.setattr("pipeline.clusters.versions.version_differences", lambda versions: ["numba 1 there, 2 here"])
    sentence = "numba 1 there, 2 here"
    with _worker(scheduler_address), pytest.raises(ClusterError, match=sentence) as caught, connect(scheduler_address):
        pass
    assert caught.value.code == "versions"


@pytest.mark.usefixtures("_impatient")
def test_scheduler_that_goes_away_ends_the_run_with_a_sentence(scheduler_address: str) -> None:
    with _worker(scheduler_address), connect(scheduler_address) as client:
        pid = client.run_on_scheduler(os.getpid)
        with pytest.raises(ClusterError, match="scheduler went away"):
            run_windowed(
                client,
                time.sleep,
                [0.1] * 100,
                window=2,
                key_prefix="gone",
                on_done=lambda item, result: os.kill(pid, signal.SIGKILL),
            )


def test_processes_between_bounds_come_with_the_work(monkeypatch: pytest.MonkeyPatch, no_leaks: None) -> None:
    monkeypatch.setenv("VOXELFOREST_SCALING_SECONDS", "0.2")
    settings.cache_clear()
    with connect("local", Workers(0, 2)) as client:
        assert (count_threads(client), expected_threads(client)) == (0, 2)
        assert client.submit(math.sqrt, 9.0).result(timeout=60) == 3.0
    settings.cache_clear()


def test_threads_take_no_bounds() -> None:
    with pytest.raises(PlanError, match=r"1\.\.2 threads: threads take one number"), connect("threads", Workers(1, 2)):
        pass


def test_processes_are_limited_by_what_a_task_may_take(no_leaks: None) -> None:
    with connect("local", 1, Terms(task_bytes=100 << 20)) as client:
        (worker,) = client.scheduler_info()["workers"].values()
    assert worker["memory_limit"] == (1 << 30) + 2 * (100 << 20)


def test_cost_is_bounded_where_something_is_paid() -> None:
    with pytest.raises(PlanError, match="--max-cost bounds what ec2 costs"), connect("local", 1, Terms(max_cost=3.0)):
        pass


def test_scheduler_without_workers_is_enough_where_they_come_with_the_work(scheduler_address: str) -> None:
    with connect(scheduler_address, Workers(0, 20)) as client:
        assert (count_threads(client), expected_threads(client)) == (0, 20)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["CA", "KEY"], "VOXELFOREST_TLS_CERTIFICATE is missing: tls://127.0.0.1:1 needs"),
        (["CA", "KEY", "CERTIFICATE"], "cannot be read; it has to be a PEM file"),
    ],
)
@pytest.mark.usefixtures("_impatient")
def test_incomplete_certificates_are_one_sentence(
    names: list[str], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in names:
        monkeypatch.setenv(f"VOXELFOREST_TLS_{name}", str(tmp_path / "absent.pem"))
    settings.cache_clear()
    with pytest.raises(ClusterError, match=words) as caught, connect("tls://127.0.0.1:1"):
        pass
    assert caught.value.code == "tls"


@pytest.mark.parametrize("place", ["raw.h5", "/data/raw.zarr", "file:///data/raw.zarr"])
def test_machines_elsewhere_cannot_read_files_of_this_one(place: str) -> None:
    check_place("local", [place])
    check_place("ec2", ["s3://bucket/raw.zarr"])
    with pytest.raises(PlanError, match=f"Workers on EC2 cannot reach {place}"):
        check_place("ec2", ["s3://bucket/raw.zarr", place])


def test_logs_of_all_come_into_one_file(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    with connect("local", 2, Terms(logfile=path)) as client:
        client.submit(_log_a_line).result()
    text = path.read_text()
    assert text.count("== worker tcp://127.0.0.1") == 2
    assert "== scheduler" in text
    assert "a block was strange" in text


def _log_a_line() -> None:
    logging.getLogger("distributed.worker").warning("a block was strange")


def test_log_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match="has to be a folder"),
        connect("local", 1, Terms(logfile=tmp_path / "a" / "b")),
    ):
        pass


@pytest.mark.parametrize("scheduler", ["threads", "local"])
def test_workers_here_do_not_look_at_the_stacks_of_threads(scheduler: str) -> None:
    with connect(scheduler, 1) as client:
        running = client.run(lambda dask_worker: sorted(dask_worker.periodic_callbacks))
    assert running
    assert [names for names in running.values() if "profile" in names] == []
