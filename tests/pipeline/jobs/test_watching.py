"""A job followed on the terminal: what its runner writes is shown once, until nothing more will come."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from pipeline.jobs import recorder, watching
from pipeline.jobs.claims import take
from pipeline.jobs.recorder import Recorder
from pipeline.jobs.store import JobStore
from pipeline.jobs.watching import follow
from pipeline.progress import Progress
from tests.job_service import make_submission


@pytest.fixture
def job(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(recorder, "EVERY_SECONDS", 0.0)
    return store.create(make_submission())[0].id


def work(store: JobStore, outcome: Callable[..., None]) -> None:
    """Be a runner that says something, and comes to an outcome."""
    claim = take(store, "r")
    assert claim is not None
    progress = Progress(Recorder(claim, lambda: False, str))
    progress.note("two blocks of eight")
    with progress.stage("find", blocks=2, voxels=2) as stage:
        stage.advance(1)
        stage.advance(1)
    outcome(claim)


@pytest.mark.parametrize(
    ("outcome", "state", "said"),
    [
        (lambda claim: claim.finish({"objects": 1}), "done", "done"),
        (lambda claim: claim.fail("no contrast"), "failed", "failed: no contrast"),
        (lambda claim: claim.wait_for_token("expired"), "needs token", "needs token: expired"),
    ],
)
def test_all_that_happens_is_told_once_and_the_watching_ends(
    store: JobStore, job: str, outcome: Callable[..., None], state: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = threading.Timer(0.1, work, (store, outcome))
    runner.start()
    try:
        assert follow(store, job, as_json=True).state == state
    finally:
        runner.join()
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    notes = [event["text"] for event in events if event["event"] == "Note"]
    assert notes == ["queued", "running", "two blocks of eight", said]
    stages = [event["event"] for event in events if event.get("name") == "find"]
    assert (stages[0], stages[-1], stages.count("StageStarted")) == ("StageStarted", "StageFinished", 1)


def test_job_that_ended_long_ago_is_told_from_its_record(
    store: JobStore, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    work(store, lambda claim: claim.finish({}))
    assert follow(store, job, as_json=True).state == "done"
    assert "two blocks of eight" in capsys.readouterr().err
