"""The process beside the server that runs jobs: when it is started, and how soon again."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import settings
from pipeline.jobs.store import JobStore
from tests.job_service import make_submission, wait_until
from web.job_runner import JobRunner

WAITS = [sys.executable, "-c", "import sys; sys.stdin.read()"]
FAILS = [sys.executable, "-c", "raise SystemExit(1)"]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobRunner]:
    monkeypatch.setenv("VOXELFOREST_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    found = JobRunner("threads", None, "http://127.0.0.1:1")
    found._command = WAITS
    yield found
    found.ask_to_end()
    found.end()
    settings.cache_clear()


def pid_of(runner: JobRunner) -> int | None:
    return None if runner._process is None else runner._process.pid


def test_nothing_is_started_before_there_is_a_job(runner: JobRunner) -> None:
    runner.look()
    assert pid_of(runner) is None
    JobStore().create(make_submission())
    runner.look()
    first = pid_of(runner)
    runner.look()
    assert pid_of(runner) == first is not None


def test_one_that_was_killed_is_started_again_at_once_however_often(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("web.job_runner.FIRST_PAUSE", 0.0)
    JobStore().create(make_submission())
    for _ in range(3):
        runner.look()
        pid = pid_of(runner)
        assert pid is not None
        os.kill(pid, 9)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        runner.reap()  # as gunicorn does just before it waits for whatever child has ended
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        runner.look()
        assert pid_of(runner) not in (None, pid)
    assert [record.args for record in caplog.records if record.levelno == logging.WARNING] == [(0.0,)] * 3


def test_one_that_fails_at_once_is_started_ever_more_rarely(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("web.job_runner.FIRST_PAUSE", 0.01)
    runner._command, runner._pause = FAILS, 0.01
    JobStore().create(make_submission())

    def pauses() -> list[object]:
        runner.look()
        return [record.args for record in caplog.records if record.levelno == logging.WARNING]

    wait_until(lambda: len(pauses()) == 3, 30)
    assert pauses()[:3] == [(0.02,), (0.04,), (0.08,)]
