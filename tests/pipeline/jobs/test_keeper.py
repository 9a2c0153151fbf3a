"""The server, its keeper and runners as processes, killed at random: the short form of `tests.jobs_chaos`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil

from pipeline.jobs.form import parse_request
from pipeline.jobs.job import QUEUED
from pipeline.jobs.store import JobStore
from tests.archive_contents import Archive
from tests.job_service import FIELDS, environment, runner, wait_until
from tests.jobs_chaos import LIMITS, run_chaos


def test_jobs_outlive_their_processes(archive: Archive, tmp_path: Path, set_up: Callable[..., None]) -> None:
    set_up(**LIMITS)
    figures = run_chaos(tmp_path, archive, 2, seed=2, waiting=1, first=("runner", "web"))
    assert figures["killed"] == {"runner": 1, "web": 1}
    assert figures["mails"] >= figures["jobs"]["done"] > 0


def test_stopped_service_leaves_no_process_and_puts_its_job_back(archive: Archive, tmp_path: Path) -> None:
    store = JobStore()
    job, _ = store.create(parse_request({**FIELDS, "pause": "0.3"}))
    with runner(tmp_path, environment(tmp_path, archive)) as process:
        wait_until(lambda: any(stage.blocks_done for stage in store.get(job.id).stages))
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.terminate()
        assert process.wait(15) == 0
        assert psutil.wait_procs(children, timeout=1)[1] == []
    assert store.get(job.id).state == QUEUED
