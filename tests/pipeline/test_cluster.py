"""Clients of threads, processes and running schedulers; what is refused, and with which words."""

from __future__ import annotations

import contextlib
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

from pipeline.cluster import MUST_MATCH, connect, count_threads, version_differences
from pipeline.config import settings
from pipeline.errors import ClusterError, PlanError
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


@pytest.mark.parametrize("kind", ["ec2", "", "localhost:8786", "http://x"])
def test_unknown_scheduler_lists_what_there_is(kind: str) -> None:
    with pytest.raises(PlanError, match="choose threads, local, or") as caught, connect(kind):
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
    with pytest.raises(ClusterError, match=r"can be used at .*ssl_context"), connect("tls://127.0.0.1:1"):
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


def _side(**versions: str) -> dict[str, dict[str, str]]:
    return {"packages": {"python": "3.11.7.final.0", **dict.fromkeys(MUST_MATCH, "1.0"), **versions}}


def test_same_versions_do_not_differ() -> None:
    versions = {"client": _side(), "workers": {"a": _side(python="3.11.9.final.0"), "b": _side(tornado="9")}}
    assert version_differences(versions) == []


def test_differences_name_package_and_both_sides() -> None:
    workers = {"a": _side(numba="0.9"), "b": _side(numba="0.8", python="3.12.1.final.0")}
    found = version_differences({"client": _side(), "workers": workers})
    assert found == ["numba 0.8, 0.9 there, 1.0 here", "Python 3.12 there, 3.11 here"]


def test_worker_with_other_versions_is_refused(monkeypatch: pytest.MonkeyPatch, scheduler_address: str) -> None:
    monkeypatch.setattr("pipeline.cluster.version_differences", lambda versions: ["numba 1 there, 2 here"])
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
