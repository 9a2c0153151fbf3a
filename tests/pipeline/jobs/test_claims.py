"""Runners' hold on jobs: one has it at a time, a silent one loses it, and what it says then does not count."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ConflictError, SupersededError
from pipeline.jobs import claims, outbox
from pipeline.jobs.claims import Claim, is_work, let_go, take
from pipeline.jobs.job import ACTIVE, CANCELLED, DONE, ENDED, FAILED, NEEDS_TOKEN, QUEUED, RUNNING, StageProgress
from pipeline.jobs.store import JobStore
from tests.job_service import make_submission


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        self.now += 0.001  # no two things happen at once
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, set_up: Callable[..., None]) -> Clock:
    made = Clock()
    monkeypatch.setattr(claims, "time", made)
    monkeypatch.setattr("pipeline.jobs.store.time", made)
    set_up(JOB_LEASE_SECONDS=10, JOB_ATTEMPTS=3)
    return made


def taken(store: JobStore, runner: str = "r1") -> Claim:
    found = take(store, runner)
    assert found is not None
    return found


def test_nothing_is_taken_where_nothing_waits(store: JobStore) -> None:
    assert take(store, "r") is None
    assert not is_work(store)
    assert not store.exists


def test_oldest_is_taken_first_and_so_many_at_a_time(store: JobStore, set_up: Callable[..., None]) -> None:
    jobs = [store.create(make_submission(number))[0].id for number in range(3)]
    set_up(JOB_CONCURRENCY=2)
    assert [taken(store, f"r{i}").job.id for i in range(2)] == jobs[:2]
    assert take(store, "r3") is None
    assert not is_work(store)


def test_many_runners_at_once_get_each_job_once(store: JobStore, set_up: Callable[..., None]) -> None:
    set_up(JOB_CONCURRENCY=64)
    for number in range(8):
        store.create(make_submission(number))
    with ThreadPoolExecutor(8) as pool:
        found = [claim for claim in pool.map(lambda i: take(store, f"r{i}"), range(24)) if claim is not None]
    assert len(found) == 8
    assert len({claim.job.id for claim in found}) == 8


def test_silent_runner_loses_its_job_once_and_for_all(store: JobStore, clock: Clock) -> None:
    store.create(make_submission())
    first = taken(store, "r1")
    clock.now += 9
    assert take(store, "r2") is None
    first.renew()
    clock.now += 9
    assert take(store, "r2") is None
    clock.now += 2
    second = taken(store, "r2")
    assert take(store, "r3") is None
    assert second.fence == first.fence + 1
    late = [
        first.renew,
        first.is_cancelled,
        first.cancel,
        lambda: first.finish({}),
        lambda: first.fail("x"),
        lambda: first.put_back(None),
        lambda: first.wait_for_token("x"),
        lambda: first.begin_pushing({}),
        lambda: first.tell("note", {"text": "x"}),
        lambda: first.show(StageProgress("find", 4, 1), 0.0),
    ]
    for act in late:
        with pytest.raises(SupersededError):
            act()
    second.finish({"objects": 5})
    assert store.get(second.job.id).results["objects"] == 5
    with pytest.raises(SupersededError):
        second.fail("it has ended")


def test_runner_that_is_known_to_be_dead_is_not_waited_for(store: JobStore, clock: Clock) -> None:
    store.create(make_submission())
    taken(store, "r1")
    let_go(store, "another")
    assert not is_work(store)
    let_go(store, "r1")
    assert is_work(store)
    assert taken(store, "r2").fence == 2


def test_pushing_job_is_taken_over_as_it_is(store: JobStore, clock: Clock) -> None:
    store.create(make_submission())
    taken(store).begin_pushing({"objects": 3})
    clock.now += 11
    assert taken(store, "r2").job.state == "pushing"


def test_fault_that_may_pass_waits_its_pause(store: JobStore, clock: Clock) -> None:
    job = store.create(make_submission())[0].id
    taken(store).put_back("the archive does not answer", pause=30)
    found = store.get(job)
    assert (found.state, found.reason) == (QUEUED, "the archive does not answer")
    clock.now += 29
    assert take(store, "r") is None
    clock.now += 2
    again = taken(store)
    assert (again.faults, store.get(job).reason) == (1, None)
    again.put_back(None)
    assert taken(store).faults == 1


def test_runners_that_keep_dying_end_the_job(store: JobStore, clock: Clock) -> None:
    job = store.create(make_submission())[0].id
    for _ in range(3):
        taken(store)
        clock.now += 11
    assert take(store, "r") is None
    found = store.get(job)
    assert found.state == FAILED
    assert found.reason is not None
    assert "died 3 times without finishing a block" in found.reason
    with store.connect() as connection:
        assert [mail.outcome for mail in outbox.mails_of(connection, job)] == [FAILED]


def test_runners_that_die_but_finish_blocks_go_on(store: JobStore, clock: Clock) -> None:
    job = store.create(make_submission())[0].id
    for done in range(1, 12):
        taken(store).show(StageProgress("find", 20, done), 0.0)
        clock.now += 11
    assert store.get(job).state == RUNNING
    assert [stage.blocks_done for stage in store.get(job).stages] == [11]


def test_cancelled_job_of_a_dead_runner_is_not_begun_again(store: JobStore, clock: Clock) -> None:
    job = store.create(make_submission())[0].id
    taken(store)
    store.cancel(job)
    clock.now += 11
    assert take(store, "r2") is None
    assert store.get(job).state == CANCELLED


def test_outcomes_are_mailed_to_each_once(store: JobStore, clock: Clock) -> None:
    job = store.create(make_submission())[0].id
    store.create(make_submission(email="bob@lab.example"))
    taken(store).wait_for_token("the token has expired")
    store.retry(job, make_submission().token)
    taken(store).finish({"objects": 1})
    with store.connect() as connection:
        told = [(mail.outcome, mail.recipient) for mail in outbox.mails_of(connection, job)]
    people = ("ada@lab.example", "bob@lab.example")
    assert told == [(state, person) for state in (NEEDS_TOKEN, DONE) for person in people]


ACTIONS = ("create", "take", "take", "renew", "push", "finish", "fail", "back", "token", "cancel", "die", "retry")
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 7)), min_size=5, max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_happens_in_whatever_order_each_job_has_one_outcome_at_a_time(
    tmp_path: Path, clock: Clock, steps: list[tuple[str, int]]
) -> None:
    """Runners that are alive, late and dead act on jobs at random; the rows always make sense."""
    store = JobStore(Path(tempfile.mkdtemp(dir=tmp_path)) / "jobs.sqlite3")
    held: list[Claim] = []
    for step, pick in steps:
        with contextlib.suppress(SupersededError, ConflictError):
            jobs = store.list()
            job = jobs[pick % len(jobs)].id if jobs else None
            if step == "create":
                store.create(make_submission(pick % 3))
            elif step == "take":
                held += [found for found in [take(store, f"r{len(held)}")] if found is not None]
            elif step == "die":
                clock.now += 11
            elif step == "cancel" and job is not None:
                store.cancel(job)
            elif step == "retry" and job is not None:
                store.retry(job, make_submission().token)
            elif held:
                _act(held[pick % len(held)], step)
        _check_rows(store)


def _act(claim: Claim, step: str) -> None:
    acts: dict[str, Callable[[], object]] = {
        "renew": claim.renew,
        "push": lambda: claim.begin_pushing({"objects": 1}),
        "finish": lambda: claim.finish({"objects": 1}),
        "fail": lambda: claim.fail("it was to fail"),
        "back": lambda: claim.put_back("a fault", 1.0),
        "token": lambda: claim.wait_for_token("it is gone"),
        "show": lambda: claim.show(StageProgress("find", 4, 1), 0.0),
    }
    if step in acts:
        acts[step]()


def _check_rows(store: JobStore) -> None:
    if not store.exists:
        return
    with store.connect() as connection:
        rows = connection.execute("SELECT id, state, lease, ended, secret, event, fence FROM jobs").fetchall()
        for job, state, lease, ended, secret, event, _ in rows:
            assert (lease is not None) == (state in ACTIVE)
            assert (ended is not None) == (state in ENDED)
            assert secret is None or state not in ENDED
            told = connection.execute(
                "SELECT number, json_extract(document, '$.state') FROM events WHERE job = ? AND kind = 'state' "
                "ORDER BY number DESC LIMIT 1",
                (job,),
            ).fetchone()
            assert told == (event, state)
        outcomes = connection.execute(
            "SELECT count(*) FROM events WHERE kind = 'state' "
            "AND json_extract(document, '$.state') IN ('done', 'failed', 'needs token')"
        ).fetchone()[0]
        assert connection.execute("SELECT count(DISTINCT event) FROM outbox").fetchone()[0] <= outcomes
        kept = {path.name for path in (store.path.parent / "job-secrets").iterdir()} if rows else set()
        assert kept == {row[4] for row in rows if row[4] is not None}
