"""The command in tests: run in this process, or started as a process of its own that can be interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.cli import run_command

COMMAND = str(Path(sys.executable).with_name("voxelforest"))
SMALL_BLOCKS = {"VOXELFOREST_CHUNK_VOXELS": "4096", "VOXELFOREST_BLOCK_VOXELS": "4096"}  # 16 x 16 x 16


@dataclass(frozen=True)
class Outcome:
    """How a command ended: exit code, and the lines that it printed on stdout and stderr."""

    code: int
    out: list[str]
    err: list[str]

    @property
    def document(self) -> dict[str, Any]:
        """The JSON line that stdout ends with."""
        document: dict[str, Any] = json.loads(self.out[-1])
        return document

    @property
    def document_of_error(self) -> dict[str, Any]:
        """The JSON line that stderr ends with, where a command failed."""
        document: dict[str, Any] = json.loads(self.err[-1])
        return document


def run_here(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Run a command in this process, which spares the seconds that starting one takes."""
    capsys.readouterr()
    code = run_command([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return Outcome(code, shown.out.splitlines(), shown.err.splitlines())


def segment(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Outcome:
    """Run ``voxelforest segment`` here, its end being asserted; what it prints is JSON."""
    outcome = run_here(capsys, "segment", *arguments, "--json")
    assert outcome.code == code, outcome.err
    return outcome


def start(
    *arguments: object, prepare: Callable[[], None] | None = None, environment: Mapping[str, str] = SMALL_BLOCKS
) -> subprocess.Popen[str]:
    """Start the command in a session of its own, blocks being small; `prepare` is called in the new process first."""

    def ready() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell starts what it runs in the background with it ignored
        if prepare is not None:
            prepare()

    return subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
        preexec_fn=ready,
    )


def finish(process: subprocess.Popen[str]) -> Outcome:
    """Wait for the end of a command."""
    out, err = process.communicate(timeout=120)
    return Outcome(process.returncode, out.splitlines(), err.splitlines())


def follow(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """The events that a command started with ``--json`` tells, as they come."""
    assert process.stderr is not None
    for line in process.stderr:
        yield json.loads(line)


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that a command has started, and those that they have."""
    return psutil.Process(process.pid).children(recursive=True)


def stop_after(process: subprocess.Popen[str], event: str, count: int, number: int) -> list[psutil.Process]:
    """Send a signal when an event has been told so often; returns the processes that the command had started."""
    told = []
    for line in follow(process):
        told.append(line)
        if sum(line["event"] == event for line in told) == count:
            break
    else:
        pytest.fail(f"the command ended with {finish(process).code} before it could be stopped: {told[-1:]}")
    started = descendants(process)
    send(process, number)
    return started


def send(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal to the command alone, but Ctrl-C to its workers too, as a terminal does."""
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
