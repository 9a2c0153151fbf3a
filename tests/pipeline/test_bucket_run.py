"""The command with an output in a bucket, from several processes: killed, gone on with, and with calls that fail."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

from pipeline.bucket import bucket
from pipeline.cli import run_command
from pipeline.config import settings
from tests.commands import SMALL_BLOCKS, descendants, finish, follow, run_here, start
from tests.outputs import contents
from tests.pipeline.formats.servers import Faults, volumes_bucket

URL = "s3://volumes/run/out.zarr"


@pytest.fixture(scope="module")
def faults() -> Iterator[Faults]:
    with volumes_bucket() as found:
        yield found


def test_run_that_is_killed_goes_on_to_the_same_bytes_though_calls_fail(
    faults: Faults, golden_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = [golden_dir / "projects" / "pc_3d.ilp", golden_dir / "in_3d_u8.npy", "--axes", "zyx"]
    for name, value in SMALL_BLOCKS.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    assert run_command(["predict", *map(str, job), str(tmp_path / "out.zarr")]) == 0
    settings.cache_clear()
    faults.every, faults.seen["failed"] = 20, 0
    first = start("predict", *job, URL, "--scheduler", "local", "--workers", "2", "--json")
    for told in follow(first):
        if told["event"] == "BlockDone":
            break
    workers = descendants(first)
    for process in [psutil.Process(first.pid), *workers]:
        process.send_signal(signal.SIGKILL)
    assert finish(first).code == -signal.SIGKILL
    assert not {"zarr.json", "0/zarr.json"} & set(objects())
    done = len([key for key in objects() if key.startswith("0/c/")])
    again = finish(start("predict", *job, URL, "--scheduler", "local", "--workers", "2", "--json", "--resume"))
    assert again.code == 0, again.err
    assert 0 < again.document["computed_blocks"] <= 27 - done
    assert objects() == contents(tmp_path / "out.zarr")
    assert faults.seen["failed"] > 5
    faults.every = 0


def objects() -> dict[str, bytes | None]:
    found = bucket("volumes")
    return {key.removeprefix("run/out.zarr/"): found.get(key) for key in found.keys("run/out.zarr/")}


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("s3://volumes/out.h5", "a bucket takes .zarr, a local folder files"),
        ("s3://nowhere/out.zarr", "there is no bucket 'nowhere'"),
        ("s3://volumes/denied/out.zarr", "access is denied; check the credentials"),
    ],
)
def test_output_that_cannot_be_is_one_line_at_once(
    faults: Faults, golden_dir: Path, capsys: pytest.CaptureFixture[str], out: str, words: str
) -> None:
    job = [golden_dir / "projects" / "pc_3d.ilp", golden_dir / "in_3d_u8.npy", "--axes", "zyx"]
    outcome = run_here(capsys, "predict", *job, out)
    assert outcome.code == 2
    assert words in outcome.err[-1]


def test_without_credentials_the_line_says_where_they_are_looked_for(
    faults: Faults, golden_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    job = [golden_dir / "projects" / "pc_3d.ilp", golden_dir / "in_3d_u8.npy", "--axes", "zyx"]
    outcome = finish(start("predict", *job, "s3://volumes/out.zarr"))
    assert outcome.code == 2
    assert "no credentials found; set AWS_PROFILE" in outcome.err[-1]


def test_several_volumes_into_a_folder_of_a_bucket(
    faults: Faults,
    golden_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run_here(
        capsys, "predict", golden_dir / "projects" / "pc_2d.ilp", golden_dir / "in_2d_u8.npy", "s3://volumes/many/"
    )
    assert outcome.code == 0, outcome.err
    assert "many/in_2d_u8_probabilities.zarr/zarr.json" in bucket("volumes").keys("many/")
    assert not Path("s3:").exists()
