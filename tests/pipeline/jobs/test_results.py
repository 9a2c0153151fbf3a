"""Where the results of jobs are, and what can be opened of those in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import UnknownError
from pipeline.jobs.job import DONE
from pipeline.jobs.result_files import is_allowed
from pipeline.jobs.results import FILES, PLACE, FolderResults, future_place, results_of
from tests.made_jobs import make_job


def test_results_are_where_the_job_says_not_where_the_setting_does(set_up: Callable[..., None]) -> None:
    job = make_job()
    assert future_place(job) is None
    set_up(JOB_RESULTS="s3://bucket-of-tests/a/b/")
    there = future_place(job)
    assert there is not None
    assert there.url == f"s3://bucket-of-tests/a/b/{job.id}"
    assert results_of(job).url == "/nowhere"
    kept = make_job(DONE, results={PLACE: "s3://bucket-of-tests/old/x", FILES: {"table.csv": 3}})
    assert results_of(kept).url == "s3://bucket-of-tests/old/x"
    assert results_of(kept).list() == {"table.csv": 3}


@pytest.mark.parametrize(
    "url", ["bucket", "s3://", "s3://B", "https://bucket/x", "s3://bucket/..", "s3://key:secret@bucket/x"]
)
def test_place_that_is_none_is_refused_with_the_setting(set_up: Callable[..., None], url: str) -> None:
    set_up(JOB_RESULTS=url)
    with pytest.raises(Exception, match=r"(?i)job_results"):
        future_place(make_job())


def test_folder_gives_its_files_alone(tmp_path: Path) -> None:
    results = FolderResults(tmp_path / "job")
    assert (results.exists(), dict(results.list())) == (False, {})
    (tmp_path / "job" / "a.zarr").mkdir(parents=True)
    (tmp_path / "job" / "table.csv").write_text("id\n")
    (tmp_path / "job" / "link.csv").symlink_to("table.csv")
    assert dict(results.list()) == {"a.zarr": 0, "table.csv": 3}
    with results.open("table.csv").file as file:
        assert file.read() == b"id\n"
    for path in ("link.csv", "a.zarr", "missing", "../job/table.csv"):
        with pytest.raises(UnknownError):
            results.open(path)
    assert results.volume("missing.zarr") is None
    assert results.volume("a.zarr") is None  # a folder that is no image
    assert results.sign("table.csv", 60) is None
    before = results.open("table.csv")
    (tmp_path / "job" / "table.csv").write_text("id\n1\n")
    after = results.open("table.csv")
    assert before.tag != after.tag
    before.file.close()
    after.file.close()
    results.remove()
    results.remove()
    assert not results.exists()


@pytest.mark.parametrize(
    "path", ["", "/", "a/", "/a", "..", "a/../b", ".x", "a\\b", "a b", "é", "a" * 256, "a/" * 16 + "a"]
)
def test_path_that_could_lead_elsewhere_is_not_allowed(path: str) -> None:
    assert not is_allowed(path)
    assert is_allowed("detections.zarr/labels/objects/0/c/0/0/0")
