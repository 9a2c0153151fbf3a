"""Whether workers can run a pipeline: a real worker process that lacks the package which brings it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.cluster import connect
from pipeline.errors import AnalysisError, ClusterError
from pipeline.jobs.form import parse_request
from pipeline.jobs.job import FAILED
from pipeline.jobs.readiness import check_workers
from pipeline.jobs.runner import Place, run_next
from pipeline.jobs.store import JobStore
from tests.archive_contents import Archive
from tests.commands import run_here
from tests.job_service import FIELDS


@pytest.fixture
def lacking() -> Iterator[str]:
    """A scheduler whose worker was started before the plug-in was installed here."""
    with connect("local", 1) as client:
        yield client.scheduler.address


def test_worker_without_the_package_is_named_and_its_job_fails_at_once(
    lacking: str, archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ClusterError, match=r"bright-voxels cannot be loaded on 1 of 1 workers .* Install") as caught:
        check_workers(lacking, "bright-voxels")
    assert caught.value.code == "pipeline"
    check_workers(lacking, "nomads-unsupervised")
    outcome = run_here(capsys, "jobs", "check", "--scheduler", lacking)
    assert outcome.code == 1
    assert any("can run" in line and "nomads-unsupervised" in line for line in outcome.err)
    assert not any("can run" in line and "bright-voxels" in line for line in outcome.err)
    store = JobStore()
    job, _ = store.create(parse_request(FIELDS))
    run_next(store, "r", Place(lacking), lambda: False)
    left = store.get(job.id)
    assert left.state == FAILED  # no pause would help
    assert "Install the same packages" in (left.reason or "")


@pytest.mark.usefixtures("plugin")
def test_workers_that_are_started_here_have_what_is_here() -> None:
    check_workers("threads", "bright-voxels")
    with pytest.raises(AnalysisError):
        check_workers("threads", "no-such-pipeline")
