"""A claim kept while it is worked on: renewed, and let go of for one reason."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pipeline.errors import WriteError
from pipeline.jobs import lease
from pipeline.jobs.claims import Claim, take
from pipeline.jobs.lease import Lease
from pipeline.jobs.store import JobStore
from tests.job_service import make_submission, wait_until

SetUp = Callable[..., None]


@pytest.fixture
def claim(set_up: SetUp, monkeypatch: pytest.MonkeyPatch) -> Claim:
    set_up(JOB_LEASE_SECONDS=0.8)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.02)
    store = JobStore()
    store.create(make_submission())
    found = take(store, "first")
    assert found is not None
    return found


def never() -> bool:
    return False


def test_job_is_kept_for_as_long_as_the_work_takes(claim: Claim) -> None:
    ended = threading.Event()
    with Lease(claim, never) as kept:
        assert not ended.wait(1.2)  # longer than the lease
        assert take(claim.store, "second") is None
        assert not kept.is_over()
    assert kept.end is None
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]


def test_job_that_nobody_keeps_is_taken_over(claim: Claim) -> None:
    wait_until(lambda: take(claim.store, "second") is not None, 10)
    with Lease(claim, never) as kept:
        wait_until(kept.is_over, 10)
    assert kept.end == "superseded"


def test_cancellation_is_noticed_before_the_next_renewal(claim: Claim, set_up: SetUp) -> None:
    set_up(JOB_LEASE_SECONDS=3600)
    with Lease(claim, never) as kept:
        claim.store.cancel(claim.job.id)
        wait_until(kept.is_over, 10)
    assert kept.end == "cancelled"


def test_request_to_stop_comes_before_a_cancellation(claim: Claim) -> None:
    claim.store.cancel(claim.job.id)
    with Lease(claim, lambda: True) as kept:
        wait_until(kept.is_over, 10)
    assert kept.end == "stopped"


def test_full_disk_is_waited_for_until_the_lease_is_over(claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(_claim: Claim) -> bool:
        tried.append(1)
        raise WriteError("the disk is full")

    monkeypatch.setattr(Claim, "renew", refuse)
    with Lease(claim, never) as kept:
        wait_until(lambda: len(tried) > 1, 10)
        assert not kept.is_over() or kept.end == "superseded"
        wait_until(kept.is_over, 10)  # others may have the job by now
    assert kept.end == "superseded"


def test_work_ends_as_it_would_without_the_lease(claim: Claim) -> None:
    with pytest.raises(ZeroDivisionError), Lease(claim, never):
        _ = 1 / 0
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]
