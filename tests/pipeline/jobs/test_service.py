"""The process that runs jobs: what it takes from standard input, how it hears that it is to end, and its log."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from pipeline.errors import PlanError
from pipeline.jobs import secrets, service
from pipeline.jobs.runner import Place
from pipeline.jobs.service import INTERRUPTED, configure_log, follow_parent, run_one
from pipeline.jobs.store import JobStore
from tests.job_service import make_submission, wait_until


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The writing end of what stands for standard input; the session's key is the test's own."""
    reading, writing = os.pipe()
    monkeypatch.setattr(service, "STANDARD_INPUT", reading)
    monkeypatch.setattr(secrets._Session, "key", None)
    yield writing
    os.close(reading)


@pytest.fixture
def ended() -> Iterator[list[int]]:
    """Signals to end that came; the process goes on."""
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: came.append(number))
    yield came
    signal.signal(signal.SIGTERM, before)


def test_key_is_taken_and_the_end_of_the_pipe_is_the_end(pipe: int, ended: list[int]) -> None:
    key = secrets.session_key()
    line = secrets.hand_over()
    secrets._Session.key = None
    os.write(pipe, line)
    follow_parent()
    assert secrets.session_key() == key
    os.write(pipe, b"anything")
    assert ended == []
    os.close(pipe)
    wait_until(lambda: ended == [signal.SIGTERM], 10)


@pytest.mark.parametrize("said", [b"", b"hello\n", b"AAAA\n"])
def test_what_is_no_key_is_refused(pipe: int, ended: list[int], said: bytes) -> None:
    os.write(pipe, said)
    os.close(pipe)
    with pytest.raises(PlanError, match="voxelforest serve"):
        follow_parent()


def test_run_of_one_with_nothing_to_do_leaves_at_once(store: JobStore) -> None:
    assert run_one(Place(), "r") == 0
    assert not store.exists


def test_signal_puts_the_job_back_and_handlers_are_as_before(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create(make_submission())
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def work(_store: object, _name: str, _place: object, stopping: object) -> None:
        assert callable(stopping)
        assert not stopping()
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(stopping, 10)

    monkeypatch.setattr(service, "run_next", work)
    assert run_one(Place(), "r") == INTERRUPTED
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_log_is_a_line_for_each_thing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("pipeline.jobs")
    kept = logger.handlers, logger.propagate, logger.level
    try:
        configure_log()
        monkeypatch.setattr(logger.handlers[0], "stream", sys.stderr)
        logger.warning("job %s: %s", "x", "it failed\nwith two lines\x1b[31m")
    finally:
        logger.handlers, logger.propagate = kept[:2]
        logger.setLevel(kept[2])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("WARNING job x: it failed with two lines [31m") or "it failed" in line
    assert "\x1b" not in line
