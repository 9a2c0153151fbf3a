"""Progress of an analysis as events of its job: how often, what of it, and what ends the work."""

from __future__ import annotations

import pytest

from pipeline.errors import CancelledError, SupersededError, WriteError
from pipeline.jobs import recorder
from pipeline.jobs.claims import Claim, take
from pipeline.jobs.recorder import LONGEST_NOTE, Recorder
from pipeline.jobs.store import JobStore
from pipeline.progress import Progress
from tests.job_service import make_submission, wait_until


@pytest.fixture
def claim(store: JobStore) -> Claim:
    store.create(make_submission())
    found = take(store, "r")
    assert found is not None
    return found


def progress_of(claim: Claim) -> Progress:
    return Progress(Recorder(claim, lambda: False, lambda text: text.replace("t0ken", "…")))


def test_stage_is_shown_in_blocks_and_bytes_until_it_is_finished(claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "EVERY_SECONDS", 0.0)
    with progress_of(claim).stage("find", blocks=2, voxels=10) as stage:
        stage.advance(6)
        (half,) = claim.store.get(claim.job.id).stages
        stage.advance(4)
    (whole,) = claim.store.get(claim.job.id).stages
    assert (half.blocks_done, half.voxels_done, half.finished) == (1, 6, False)
    assert half.bytes_done == 6 * claim.voxel_bytes
    assert (whole.blocks_done, whole.voxels_done, whole.finished, whole.seconds_left) == (2, 10, True, None)


def test_many_blocks_are_few_events(claim: Claim) -> None:
    before = claim.store.events(claim.job.id)[-1].number
    with progress_of(claim).stage("find", blocks=500, voxels=500) as stage:
        for _ in range(500):
            stage.advance(1)
    assert claim.store.events(claim.job.id)[-1].number - before < 50  # each is a write to the disk
    assert claim.store.get(claim.job.id).stages[0].blocks_done == 500


def test_notes_are_one_line_without_the_token_and_not_endless(claim: Claim) -> None:
    progress_of(claim).note("with t0ken\nin \x1b[31m" + "x" * 1000)
    (note,) = [event for event in claim.store.events(claim.job.id) if event.kind == "note"]
    text = note.document["text"]
    assert "t0ken" not in text
    assert "\n" not in text
    assert "\x1b" not in text
    assert len(text) == LONGEST_NOTE


def test_disk_that_is_full_loses_progress_and_not_the_job(claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise WriteError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Claim, "show", refuse)
        with progress_of(claim).stage("find", blocks=1, voxels=1) as stage:
            stage.advance(1)
    assert claim.store.get(claim.job.id).stages == ()


def test_work_that_is_over_ends_with_the_next_block(claim: Claim) -> None:
    progress = Progress(Recorder(claim, lambda: True, str))
    with pytest.raises(CancelledError):
        progress.note("still there?")


def test_runner_that_lost_the_job_hears_of_it(claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    with claim.store.transaction() as connection:
        connection.execute("UPDATE jobs SET lease = 0")
    wait_until(lambda: take(claim.store, "second") is not None, 10)
    with pytest.raises(SupersededError):
        progress_of(claim).note("mine")
    assert not [event for event in claim.store.events(claim.job.id) if event.document.get("text") == "mine"]
