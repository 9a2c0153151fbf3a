"""Segmentations into a bucket: the objects of one in a folder, nothing left behind, probabilities used again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

from pipeline.bucket import bucket
from pipeline.config import settings
from tests.commands import run_here
from tests.outputs import contents
from tests.pipeline.formats.servers import Faults, volumes_bucket

URL = "s3://volumes/segmented/out.zarr"
SETTINGS = ("--channel", 1, "--core-channel", 2, "--high", 0.4, "--low", 0.3, "--sigma", 0, "--min-size", 1)


@pytest.fixture(scope="module")
def faults() -> Iterator[Faults]:
    with volumes_bucket() as found:
        yield found


def test_bucket_gets_what_a_folder_gets(
    faults: Faults,
    golden_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    small_blocks: None,
) -> None:
    monkeypatch.setenv("VOXELFOREST_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    job = golden_dir / "projects" / "pc_3d.ilp", golden_dir / "in_3d_u8.npy"
    tables = [("--table", tmp_path / f"{name}.csv") for name in ("folder", "bucket", "again")]
    assert run_here(capsys, "segment", *job, tmp_path / "out.zarr", *SETTINGS, *tables[0]).code == 0
    outcome = run_here(capsys, "segment", *job, URL, *SETTINGS, *tables[1])
    assert outcome.code == 0, outcome.err
    found = bucket("volumes")
    there = {key.removeprefix("segmented/out.zarr/"): found.get(key) for key in found.keys("segmented/")}
    assert there == contents(tmp_path / "out.zarr")
    assert (tmp_path / "bucket.csv").read_bytes() == (tmp_path / "folder.csv").read_bytes()
    assert not list((tmp_path / "data").rglob("*.*"))
    moved = run_here(capsys, "segment", *job, URL, "--channel", 1, "--sigma", 0, "--overwrite")
    assert moved.code == 0, moved.err
    assert any("not predicted again" in line for line in moved.err)
