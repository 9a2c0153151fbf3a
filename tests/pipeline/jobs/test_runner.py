"""One job from the claim to the outcome, against the archive over sockets."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import WriteError
from pipeline.jobs.form import parse_request
from pipeline.jobs.job import CANCELLED, DONE, FAILED, NEEDS_TOKEN, QUEUED, Job
from pipeline.jobs.runner import Place, run_next
from pipeline.jobs.store import JobStore
from pipeline.volume import open_raw
from tests.archive_contents import Archive
from tests.job_service import FIELDS, TOKEN, expected, wait_until

SetUp = Callable[..., None]


def ask(**changes: str) -> Job:
    job, _ = JobStore().create(parse_request({**FIELDS, **changes}))
    return job


def attempt(stopping: Callable[[], bool] = lambda: False) -> Job:
    found = run_next(JobStore(), "a runner", Place(), stopping)
    assert found is not None
    return found


def pushed(archive: Archive, job: Job) -> np.ndarray:
    channel = archive.places["out", "results"].channels[f"{job.channel}_All"]
    assert channel.data is not None
    return channel.data


def test_job_is_computed_pushed_and_described(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    asked = ask()
    job = attempt()
    assert (job.id, job.state, job.reason) == (asked.id, DONE, None)
    np.testing.assert_array_equal(pushed(archive, job), expected())
    local = open_raw(job.folder / job.results["volumes"]["All"])
    np.testing.assert_array_equal(local.read(local.whole)[0, 0], expected())
    assert job.results["objects"] == 1
    assert job.results["pushed"] == {
        f"{job.key}_All": f"{archive.url}/v1/collection/out/experiment/results/channel/{job.key}_All"
    }
    stages = {stage.name: stage for stage in job.stages}
    assert stages["find"].finished
    assert stages["find"].blocks == stages["find"].blocks_done == 27
    assert stages["find"].bytes == stages["find"].bytes_done == 24 * 48 * 48
    assert f"push {job.key}_All" in stages
    assert JobStore().secrets() == frozenset()
    assert TOKEN not in caplog.text
    assert run_next(JobStore(), "another", Place(), lambda: False) is None


def test_same_request_again_is_not_computed_again(archive: Archive) -> None:
    ask()
    attempt()
    before = len(archive.requests)
    assert ask(email="bob@lab.example").state == DONE
    assert run_next(JobStore(), "r", Place(), lambda: False) is None
    assert not any(line.startswith("POST /v1/cutout") for line in archive.requests[before:])


def test_archive_that_fails_for_a_while_is_waited_for(archive: Archive, set_up: SetUp) -> None:
    set_up(JOB_PAUSE_SECONDS=0, JOB_ATTEMPTS=3)
    ask()
    archive.fail("503", "GET /v1/cutout/", times=6)
    states = [attempt().state]
    while states[-1] == QUEUED:
        states.append(attempt().state)
    assert len(states) in (2, 3)
    assert states[-1] == DONE


def test_archive_that_keeps_failing_fails_the_job_and_says_why(archive: Archive, set_up: SetUp) -> None:
    set_up(JOB_PAUSE_SECONDS=0, JOB_ATTEMPTS=2)
    ask()
    archive.fail("503", "GET /v1/cutout/", times=10_000)
    assert attempt().reason is not None
    job = attempt()
    assert job.state == FAILED
    assert job.reason is not None
    assert job.reason.startswith("given up after 2 attempts, the last of which: ")
    archive.faults.clear()
    assert ask().state == QUEUED
    assert attempt().state == DONE


def test_push_that_breaks_off_goes_on(archive: Archive, set_up: SetUp) -> None:
    set_up(JOB_PAUSE_SECONDS=0)
    ask()
    archive.fail("500", "POST /v1/cutout/", times=10_000)
    assert attempt().state == QUEUED
    archive.faults.clear()
    job = attempt()
    assert job.state == DONE
    np.testing.assert_array_equal(pushed(archive, job), expected())
    computed = [event.document for event in JobStore().events(job.id) if event.kind == "computed"]
    assert [document["reused"] for document in computed] == [False, True]


def test_token_that_is_refused_is_asked_for_again(archive: Archive) -> None:
    job = ask()
    del archive.tokens[TOKEN]
    waiting = attempt()
    assert waiting.state == NEEDS_TOKEN
    assert waiting.reason
    assert JobStore().secrets() == frozenset()
    again = ask(token="writer")
    assert (again.id, again.state) == (job.id, QUEUED)
    assert attempt().state == DONE


def test_job_whose_key_is_gone_needs_its_token_again(archive: Archive, set_up: SetUp) -> None:
    ask()
    set_up(SECRET_KEY="another key, as after a restart")
    waiting = attempt()
    assert waiting.state == NEEDS_TOKEN
    assert "needs it again" in (waiting.reason or "")
    assert list((JobStore().path.parent / "job-secrets").iterdir()) == []


def test_job_without_a_token_takes_the_runners(archive: Archive, set_up: SetUp) -> None:
    set_up(BOSS_TOKEN="writer")
    fields = {name: text for name, text in FIELDS.items() if name not in ("token", "email")}
    job, _ = JobStore().create(parse_request(fields, optional=("token", "email")))
    assert attempt().state == DONE
    assert JobStore().get(job.id).people == ()


def test_cancelled_job_stops_soon_and_goes_on_when_started_again(archive: Archive) -> None:
    job = ask(pause="0.05")
    ended: list[Job] = []
    thread = threading.Thread(target=lambda: ended.append(attempt()))
    thread.start()
    store = JobStore()
    wait_until(lambda: any(stage.blocks_done for stage in store.get(job.id).stages))
    store.cancel(job.id)
    thread.join(20)
    assert ended[0].state == CANCELLED
    assert store.secrets() == frozenset()
    ask(pause="0.05")
    assert attempt().state == DONE
    (find,) = (stage for stage in store.get(job.id).stages if stage.name == "find")
    assert find.blocks < 27, "blocks that were finished are not computed again"


def test_runner_that_is_told_to_stop_puts_its_job_back(archive: Archive) -> None:
    job = ask(pause="0.05")
    began = time.monotonic()
    left = attempt(lambda: time.monotonic() - began > 0.8)
    assert (left.id, left.state, left.reason) == (job.id, QUEUED, None)
    assert len(JobStore().secrets()) == 1
    assert attempt().state == DONE


def test_full_disk_fails_the_job_and_says_so(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    ask()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.durability._write_all", full)
        job = attempt()
    assert job.state == FAILED
    assert "No space left on device" in (job.reason or "")
    assert ask().state == QUEUED
    assert attempt().state == DONE


def test_outcome_that_cannot_be_written_leaves_the_job_to_the_next(
    archive: Archive, set_up: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(JOB_LEASE_SECONDS=0.5)
    job = ask()

    def full(*_: object) -> None:
        raise WriteError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.jobs.claims.Claim.finish", full)
        with pytest.raises(WriteError):
            attempt()
    time.sleep(0.6)
    assert attempt().state == DONE
    assert JobStore().get(job.id).results["pushed"]


def test_runner_that_is_late_does_not_undo_what_another_did(archive: Archive, set_up: SetUp) -> None:
    """The first one hangs in the archive beyond its lease; the second one does it all."""
    set_up(JOB_LEASE_SECONDS=0.5, BOSS_SILENCE_SECONDS=30)
    job = ask()
    working = threading.Event()

    def hang(_: object) -> None:
        time.sleep(2.5)

    def give_up_late(*_: object) -> None:
        working.set()
        time.sleep(1.5)
        raise ZeroDivisionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.jobs.lease.Lease._keep", hang)  # a process that does not get to run
        first = threading.Thread(target=attempt)
        patch.setattr("pipeline.jobs.runner._Attempt._compute", give_up_late)
        first.start()
        assert working.wait(20)  # before its ways are those of others again
    second = None
    while second is None:  # until the lease of the first one is over
        time.sleep(0.1)
        second = run_next(JobStore(), "another runner", Place(), lambda: False)
    assert second.state == DONE
    event = JobStore().get(job.id).event
    first.join(20)
    assert JobStore().get(job.id).event == event


def test_error_of_somebody_else_that_holds_the_token_is_shown_without_it(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ask()

    def leak(*_: object, **__: object) -> None:
        raise RuntimeError(f"cannot talk with Token {TOKEN}")

    monkeypatch.setattr("pipeline.boss.BossArchive.open", leak)
    job = attempt()
    assert job.state == FAILED
    assert job.reason == "this should not happen: RuntimeError: cannot talk with Token …"
    assert TOKEN not in caplog.text


def test_folder_of_results_is_below_the_data_folder(archive: Archive, tmp_path: Path) -> None:
    assert ask().folder.parent == tmp_path / "data" / "jobs"
