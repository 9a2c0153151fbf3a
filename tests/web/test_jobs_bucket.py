"""Results that lie in a bucket, over HTTP: the same pages, files and volumes as from a folder."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.request import urlopen

import numpy as np
import pytest
import zarr

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

from pipeline.analyses.result import DETECTIONS
from pipeline.formats import retry
from pipeline.jobs.bucket_results import BucketResults
from pipeline.jobs.job import Job
from pipeline.jobs.results import FILES, PLACE
from pipeline.progress import Progress
from tests.pipeline.formats.servers import Faults, volumes_bucket
from tests.web.job_desk import JSON, Desk, opening, write_results
from tests.web.old_boxes import problem_of


@pytest.fixture(scope="module")
def faults() -> Iterator[Faults]:
    with volumes_bucket() as found:
        yield found


@pytest.fixture(scope="module")
def desk(faults: Faults, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with opening(tmp_path_factory.mktemp("desk")) as found:
        yield found


@pytest.fixture(scope="module")
def job(desk: Desk) -> Job:
    """A job whose results are in the bucket; those in its folder are left, to compare with."""
    made = desk.make()
    claim = desk.take()
    objects = write_results(made.folder)
    place = BucketResults(f"s3://volumes/web/{made.id}")
    files = place.keep(made.folder, Progress(), lambda: False)
    claim.finish({"objects": objects, "volumes": {"All": DETECTIONS}, "links": {}, PLACE: place.url, FILES: files})
    return desk.store.get(made.id)


def test_page_lists_what_the_bucket_holds(desk: Desk, job: Job) -> None:
    page = desk.ask(f"/jobs/{job.id}").text
    for name in ("report.html", "table.csv", "provenance.json"):
        assert f'href="/jobs/{job.id}/results/{name}"' in page
    assert "s3://" not in page
    assert f"/jobs/{job.id}/results/table.csv" in desk.ask(f"/api/v1/jobs/{job.id}").document["files"]


def test_files_are_given_whole_and_in_part(desk: Desk, job: Job) -> None:
    target, data = f"/jobs/{job.id}/results/table.csv", (job.folder / "table.csv").read_bytes()
    whole = desk.ask(target)
    assert (whole.status, whole.body) == (200, data)
    assert whole.headers["Content-Disposition"].startswith("attachment")
    part = desk.ask(target, headers={"Range": "bytes=3-8"})
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, data[3:9], f"bytes 3-8/{len(data)}")
    assert desk.ask(target, headers={"If-None-Match": whole.headers["ETag"]}).status == 304
    head = desk.ask(target, method="HEAD")
    assert (head.body, head.headers["Content-Length"]) == (b"", str(len(data)))
    assert "sandbox" in desk.ask(f"/jobs/{job.id}/results/report.html").headers["Content-Security-Policy"]


def test_volumes_are_read_and_drawn(desk: Desk, job: Job) -> None:
    name = f"{DETECTIONS}/0"
    there = zarr.open_array(f"{desk.url}/jobs/{job.id}/results/{name}", mode="r")
    assert np.array_equal(there[...], zarr.open_array(job.folder / name, mode="r")[...])
    assert desk.ask(f"/jobs/{job.id}/picture.png").body.startswith(b"\x89PNG")
    assert "detections" in desk.ask(f"/jobs/{job.id}").text


@pytest.mark.parametrize("path", ["missing.csv", "%2e%2e/x", "detections.zarr/9/c/0/0/0", ".hidden"])
def test_what_is_not_there_is_not_found(desk: Desk, job: Job, path: str) -> None:
    problem_of(desk.ask(f"/jobs/{job.id}/results/{path}"), 404)


def test_signed_link_shows_them_and_a_file_is_shared_by_the_bucket_itself(desk: Desk, job: Job) -> None:
    share = f"/api/v1/jobs/{job.id}/share"
    link = desk.post(share).document["url"].removeprefix(desk.url)
    assert desk.ask(link).status == 200
    assert desk.ask(f"{link}results/table.csv").status == 200
    signed = desk.post(share, {"file": "table.csv"}).document
    assert signed["name"] is None
    assert signed["expires"]
    with urlopen(signed["url"]) as answer:
        assert answer.read() == (job.folder / "table.csv").read_bytes()
    problem_of(desk.post(share, {"file": "missing.csv"}), 404)
    local = desk.finish(z_range="1,3")
    problem_of(desk.post(f"/api/v1/jobs/{local.id}/share", {"file": "table.csv"}, JSON), 409)


def test_bucket_that_does_not_answer_is_no_error_of_ours(
    desk: Desk, job: Job, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    faults.every = 1
    try:
        reply = desk.ask(f"/jobs/{job.id}/results/table.csv")
        page = desk.ask(f"/jobs/{job.id}")
    finally:
        faults.every = 0
    problem_of(reply, 503)
    assert reply.headers["Retry-After"]
    assert page.status == 200
