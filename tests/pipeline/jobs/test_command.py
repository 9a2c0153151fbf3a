"""``voxelforest jobs``: asking, looking, watching, cancelling, starting again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.jobs.claims import take
from pipeline.jobs.runner import Place, run_next
from pipeline.jobs.store import JobStore
from tests.archive_contents import Archive
from tests.commands import Outcome, run_here
from tests.job_service import TOKEN, make_submission

REQUEST = ["--col", "col", "--exp", "exp", "--z-range", "0, 24", "--y-range", "0,48", "--x-range", "0,48"]


def run_jobs(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Outcome:
    outcome = run_here(capsys, "jobs", *arguments)
    assert outcome.code == code, outcome.err
    return outcome


def document_of(outcome: Outcome) -> dict[str, object]:
    return json.loads("\n".join(outcome.out))


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def test_links_are_made_listed_and_withdrawn(
    store: JobStore, set_up: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    job, _ = store.create(make_submission())
    assert "VOXELFOREST_SECRET_KEY" in run_jobs(capsys, "share", job.id, code=2).err[-1]
    set_up(SECRET_KEY="a key of many letters", PUBLIC_URL="https://lab.example")
    (url,) = run_jobs(capsys, "share", job.id).out
    (link,) = json.loads("\n".join(run_jobs(capsys, "links", job.id, "--json").out))["links"]
    assert (link["url"], link["state"], link["to"]) == (url, "open", None)
    shown = run_jobs(capsys, "withdraw", job.id, link["name"])
    assert any("withdrawn" in line for line in shown.out)
    assert "no link" in run_jobs(capsys, "withdraw", job.id, "0123456789ab", code=2).err[-1]


def test_from_asking_to_the_results(archive: Archive, token_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = run_jobs(
        capsys, "submit", "bright-voxels", *REQUEST, "--token-file", token_file, "--set", "threshold=200", "--json"
    )
    job = document_of(asked)
    assert (job["state"], job["created_now"], job["parameters"]) == (
        "queued",
        True,
        {"threshold": 200, "pause": 0.0, "model": None},
    )
    run_next(JobStore(), "r", Place(), lambda: False)
    watched = run_jobs(capsys, "watch", job["id"])
    assert any("find: done" in line for line in watched.err)
    shown = document_of(run_jobs(capsys, "show", str(job["id"])[:-4], "--json"))
    assert shown["state"] == "done"
    assert shown["objects"] == 1
    assert list(shown["pushed"]) == [f"{shown['key']}_All"]  # type: ignore[call-overload]
    listed = run_jobs(capsys, "list", "--state", "done", "--json")
    assert [found["id"] for found in document_of(listed)["jobs"]] == [job["id"]]  # type: ignore[attr-defined]
    again = document_of(run_jobs(capsys, "submit", "bright-voxels", *REQUEST, "--token-file", token_file,
                                 "--set", "threshold=200", "--json"))  # fmt: skip
    assert (again["id"], again["created_now"], again["state"]) == (job["id"], False, "done")


def test_estimate_asks_for_nothing(archive: Archive, token_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run_jobs(capsys, "submit", "bright-voxels", *REQUEST, "--token-file", token_file, "--estimate")
    assert outcome.out[0].startswith("55,296 voxels in 1 channels, 54.0 KiB to read")
    assert not JobStore().exists


def test_wrong_fields_are_bad_usage_in_one_line(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run_jobs(capsys, "submit", "brightvoxels", *REQUEST, "--email", "a@b, c@d", code=2)
    assert len(outcome.err) == 1
    assert "pipeline: there is no pipeline 'brightvoxels'" in outcome.err[0]
    assert "email: not one e-mail address" in outcome.err[0]
    run_jobs(capsys, "submit", "bright-voxels", *REQUEST, "--set", "threshold", code=2)
    run_jobs(capsys, "list", "--state", "asleep", code=2)
    assert "there is no job 'x'" in run_jobs(capsys, "show", "x", code=2).err[0]


def test_token_in_a_file_needs_the_key_that_the_runner_has(
    archive: Archive, token_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    set_up: Callable[..., None],
) -> None:  # fmt: skip
    monkeypatch.delenv("VOXELFOREST_SECRET_KEY")
    set_up()
    said = run_jobs(capsys, "submit", "bright-voxels", *REQUEST, "--token-file", token_file, code=2).err[0]
    assert "VOXELFOREST_SECRET_KEY" in said
    assert "VOXELFOREST_BOSS_TOKEN" in said


def test_cancel_and_retry(store: JobStore, capsys: pytest.CaptureFixture[str]) -> None:
    job = store.create(make_submission(token=None))[0].id
    run_jobs(capsys, "cancel", job)
    assert store.get(job).state == "cancelled"
    assert "nothing is left to cancel" in run_jobs(capsys, "cancel", job, code=2).err[0]
    run_jobs(capsys, "watch", job, code=1)
    run_jobs(capsys, "retry", job)
    assert store.get(job).state == "queued"


def test_beginning_of_several_jobs_is_no_name(store: JobStore, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        store.create(make_submission(number))
    assert "2 jobs begin with 'bright'" in run_jobs(capsys, "show", "bright", code=2).err[0]


def test_watching_ends_where_a_token_is_needed(store: JobStore, capsys: pytest.CaptureFixture[str]) -> None:
    job = store.create(make_submission())[0].id
    claim = take(store, "r")
    assert claim is not None
    claim.wait_for_token("the token has expired")
    outcome = run_jobs(capsys, "watch", job, code=1)
    assert "needs token: the token has expired" in outcome.err


def test_running_once_without_a_job_is_done_at_once(store: JobStore, capsys: pytest.CaptureFixture[str]) -> None:
    run_jobs(capsys, "run", "--once")
    assert not store.exists


def test_check_says_what_can_be_run(plugin: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert "bright-voxels" in run_jobs(capsys, "check").err[-1]
    run_jobs(capsys, "check", "--scheduler", "thread", code=2)
