"""Results kept in a bucket, on moto's server: whole or not there, read from there, removed in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

from pipeline.bucket import Bucket, bucket
from pipeline.errors import BusyError, CancelledError, UnknownError, WriteError
from pipeline.formats import retry
from pipeline.jobs import retention
from pipeline.jobs.bucket_results import BucketResults
from pipeline.jobs.claims import take
from pipeline.jobs.job import DONE, FAILED, Job
from pipeline.jobs.results import FILES, PLACE, FolderResults, results_of
from pipeline.jobs.store import JobStore
from pipeline.progress import Progress
from tests.archive_contents import Archive
from tests.job_service import expected, make_submission
from tests.outputs import contents
from tests.pipeline.formats.servers import Faults, volumes_bucket
from tests.pipeline.jobs.test_runner import ask, attempt

URL = "s3://volumes/jobs/a"
SetUp = Callable[..., None]


@pytest.fixture(scope="module")
def server() -> Iterator[Faults]:
    with volumes_bucket() as faults:
        yield faults


@pytest.fixture(autouse=True)
def faults(server: Faults, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """An empty bucket, and the faults of its server."""
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    yield server
    server.every = 0
    bucket("volumes").delete(bucket("volumes").keys(""))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Finished results."""
    made = tmp_path / "made"
    (made / "bright.zarr" / "0").mkdir(parents=True)
    files = {"table.csv": b"id\n1\n", "bright.zarr/zarr.json": b"{}", "bright.zarr/0/c": b"chunk" * 1000}
    for name, data in {**files, "provenance.json": b"{}"}.items():
        (made / name).write_bytes(data)
    return made


def objects(prefix: str = "jobs/a/") -> dict[str, bytes | None]:
    found = bucket("volumes")
    return {key.removeprefix(prefix): found.get(key) for key in found.keys(prefix)}


def keep(folder: Path, cancelled: Callable[[], bool] = lambda: False) -> BucketResults:
    place = BucketResults(URL)
    return BucketResults(URL, tuple(place.keep(folder, Progress(), cancelled).items()))


def test_bucket_gets_what_the_folder_holds_and_nothing_else(folder: Path) -> None:
    bucket("volumes").put("jobs/a/left.csv", b"of a run before")
    bucket("volumes").put("jobs/ab/other.csv", b"of another job")
    place = keep(folder)
    assert objects() == contents(folder)
    assert objects("jobs/ab/") == {"other.csv": b"of another job"}
    assert place.list() == FolderResults(folder).list()
    assert place.exists()


def test_killed_on_the_way_it_is_not_there_and_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "put_files", _fail)
        with pytest.raises(WriteError, match="no more"):
            keep(folder)
    assert not BucketResults(URL).exists()  # though nothing of it is missing
    put: list[str] = []
    really = Bucket.put_files

    def put_files(there: Bucket, files: Sequence[tuple[Path, str]]) -> None:
        put.extend(key for _, key in files)
        really(there, files)

    monkeypatch.setattr(Bucket, "put_files", put_files)
    assert keep(folder).exists()
    assert put == ["jobs/a/table.csv", "jobs/a/provenance.json"]  # images are there


def _refuse(_place: BucketResults) -> None:
    raise WriteError("not now")


def _fail(_bucket: Bucket, _files: object) -> None:
    raise OSError("no more")


def test_cancelled_on_the_way_it_is_not_there(folder: Path) -> None:
    with pytest.raises(CancelledError):
        keep(folder, lambda: True)
    assert not BucketResults(URL).exists()


def test_files_are_read_in_parts(folder: Path) -> None:
    place, whole = keep(folder), (folder / "bright.zarr/0/c").read_bytes()
    found = place.open("bright.zarr/0/c")
    with found.file as file:
        assert file.read() == whole
        file.seek(7)
        assert file.read(5) == whole[7:12]
        file.seek(-3, 2)
        assert file.read(10) == whole[-3:]
    assert found.size == len(whole)
    before, data = place.open("table.csv").tag, (folder / "table.csv").read_bytes()
    (folder / "table.csv").write_bytes(data.replace(b"1", b"2"))
    assert keep(folder).open("table.csv").tag != before


@pytest.mark.parametrize("path", ["missing.csv", "../ab/other.csv", "a//b", ".hidden", "bright.zarr", ""])
def test_what_is_no_file_of_theirs_cannot_be_opened(folder: Path, path: str) -> None:
    bucket("volumes").put("jobs/ab/other.csv", b"of another job")
    bucket("volumes").put("jobs/a/.hidden", b"x")
    with pytest.raises(UnknownError):
        BucketResults(URL).open(path)


def test_bucket_that_does_not_answer_is_asked_later(folder: Path, faults: Faults) -> None:
    place = keep(folder)
    faults.every = 1
    with pytest.raises(BusyError):
        place.open("table.csv")
    with pytest.raises(WriteError):
        place.keep(folder, Progress(), lambda: False)


def test_signed_url_needs_no_credentials_and_opens_one_file(folder: Path) -> None:
    place = keep(folder)
    url = place.sign("table.csv", 60)
    assert url is not None
    assert "Signature" in url
    with urlopen(url) as answer:
        assert answer.read() == (folder / "table.csv").read_bytes()
    with pytest.raises(UnknownError):
        place.sign("missing.csv", 60)


def test_job_keeps_its_results_in_the_bucket(archive: Archive, set_up: SetUp, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(JOB_RESULTS="s3://volumes/jobs/")
    ask()
    job = attempt()
    assert (job.state, job.reason) == (DONE, None)
    place = results_of(job)
    assert place.url == f"s3://volumes/jobs/{job.id}"
    volume = place.volume(job.results["volumes"]["All"])
    assert volume is not None
    np.testing.assert_array_equal(volume.read(volume.whole)[0, 0], expected())
    assert place.list()["table.csv"] == len(place.open("table.csv").file.read())
    assert not job.folder.exists()
    assert any(stage.name == "keep" and stage.finished for stage in job.stages)
    set_up(JOB_RESULTS="s3://elsewhere/now")
    assert ask(email="bob@lab.example").state == DONE  # it is where it is
    check_retention(job, monkeypatch)


def test_job_whose_objects_were_removed_is_asked_for_anew(store: JobStore) -> None:
    submission = make_submission()
    store.create(submission)
    claim = take(store, "r")
    assert claim is not None
    claim.finish({PLACE: URL, FILES: {}})
    assert store.create(submission)[0].state == "queued"


def check_retention(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy whose removal a kill prevented goes at once; job and objects go in time, and stay if that is refused."""
    store = JobStore()
    job.folder.mkdir()
    retention.tidy(store)
    assert not list(store.folder.iterdir())
    assert results_of(job).exists()
    with monkeypatch.context() as patch:
        now = retention.time.time()
        patch.setattr("pipeline.jobs.retention.time.time", lambda: now + 91 * retention.DAY)
        with monkeypatch.context() as broken:
            broken.setattr(BucketResults, "remove", _refuse)
            with pytest.raises(WriteError):
                retention.tidy(store)
        assert store.get(job.id).state == DONE
        assert retention.tidy(store) == 1
    assert objects("jobs/") == {}


def test_bucket_that_is_not_there_is_said_before_anything_is_computed(archive: Archive, set_up: SetUp) -> None:
    set_up(JOB_RESULTS="s3://no-such-bucket/x", JOB_ATTEMPTS=1)
    ask()
    job = attempt()
    assert job.state == FAILED
    assert "no-such-bucket" in (job.reason or "")
    assert job.stages == ()
