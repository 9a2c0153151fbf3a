"""Runs that are killed, interrupted and gone on with: nothing whole is lost, the bytes are the same, nobody stays."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest

from pipeline.cli import run_command
from pipeline.config import settings
from tests.commands import SMALL_BLOCKS, Outcome, descendants, finish, run_here, send, start, stop_after
from tests.outputs import contents

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture(scope="module")
def job(golden_dir: Path) -> tuple[str, str]:
    """A project and a volume that make 27 small blocks."""
    return str(golden_dir / "projects" / "pc_3d.ilp"), str(golden_dir / "in_3d_u8.npy")


@pytest.fixture(scope="module")
def undisturbed(job: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out.zarr"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL_BLOCKS.items():
            patch.setenv(name, value)
        settings.cache_clear()
        assert run_command(["predict", *job, str(out)]) == 0
    settings.cache_clear()
    return contents(out)


def test_killed_again_and_again_a_run_goes_on_and_ends_with_the_same_bytes(
    job: tuple[str, str], undisturbed: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.zarr"
    moments = [("StageStarted", 1), ("BlockDone", 3), ("BlockDone", 9), ("StageStarted", 2)]
    for moment in moments:
        process = start("predict", *job, out, "--json", "--resume")
        stop_after(process, *moment, signal.SIGKILL)
        assert finish(process).code == -signal.SIGKILL
        assert not out.exists()
    outcome = run_here(capsys, "predict", *job, out, "--json", "--resume")
    assert outcome.code == 0, outcome.err
    assert outcome.document["computed_blocks"] < 27
    assert contents(out) == undisturbed
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


@pytest.mark.parametrize(
    ("scheduler", "number"), [("threads", signal.SIGINT), ("threads", signal.SIGTERM), ("local", signal.SIGINT)]
)
def test_interrupted_run_says_how_to_go_on_and_leaves_no_process(
    job: tuple[str, str],
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    scheduler: str,
    number: int,
) -> None:
    out = tmp_path / "out.zarr"
    process = start("predict", *job, out, "--json", "--scheduler", scheduler)
    workers = stop_after(process, "BlockDone", 3, number)
    outcome = finish(process)
    assert outcome.code == 130, outcome.err
    assert outcome.out == []
    last = Outcome(0, outcome.err, []).document
    assert (last["event"], last["exit_code"]) == ("Error", 130)
    assert "the same command with --resume goes on" in last["message"]
    assert all(line.startswith('{"event"') for line in outcome.err), "nothing else is printed"
    assert psutil.wait_procs(workers, timeout=5)[1] == []
    assert not out.exists()
    assert run_here(capsys, "predict", *job, out, "--resume").code == 0
    assert contents(out) == undisturbed


def test_workers_of_a_killed_command_end_and_threads_go_on_with_the_same_bytes(
    job: tuple[str, str], undisturbed: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.zarr"
    process = start("predict", *job, out, "--json", "--scheduler", "local")
    workers = stop_after(process, "BlockDone", 5, signal.SIGKILL)
    assert len(workers) >= 2
    finish(process)
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    outcome = run_here(capsys, "predict", *job, out, "--json", "--resume")
    assert outcome.code == 0, outcome.err
    assert outcome.document["computed_blocks"] < 27
    assert contents(out) == undisturbed


def test_interruption_while_workers_start_is_one_line(job: tuple[str, str], tmp_path: Path) -> None:
    process = start("predict", *job, tmp_path / "out.zarr", "--json", "--scheduler", "local", "--workers", 2)
    while len(descendants(process)) < 3:  # a helper of Python's and two workers
        assert process.poll() is None
        time.sleep(0.01)
    workers = descendants(process)
    send(process, signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130, outcome.err
    assert [json.loads(line)["event"] for line in outcome.err] == ["Note", "Error"]
    assert psutil.wait_procs(workers, timeout=5)[1] == []


def test_interruption_before_the_run_is_one_line(job: tuple[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and never says a word
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        process = start("predict", *job, tmp_path / "out.zarr", "--scheduler", address)
        assert process.stderr is not None
        process.stderr.readline()  # the axes: from here on it waits for the scheduler
        send(process, signal.SIGINT)
        outcome = finish(process)
    assert outcome.code == 130
    assert len(outcome.err) == 1
    assert outcome.err[0].startswith("voxelforest: ")
