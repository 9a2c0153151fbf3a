"""Segmentations that are killed, run out of disk, or run elsewhere: in the end the same bytes, never half an output."""

from __future__ import annotations

import functools
import json
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from pipeline.config import settings
from tests.commands import Outcome, finish, run_here, start, stop_after
from tests.outputs import contents

pytestmark = pytest.mark.usefixtures("small_blocks")

SETTINGS = ("--channel", 1, "--threshold", 0.3, "--sigma", 0, "--min-size", 2)


@pytest.fixture
def job(golden_dir: Path) -> tuple[object, ...]:
    return golden_dir / "projects" / "pc_3d.ilp", golden_dir / "in_3d_u8.npy"


def read_outputs(folder: Path) -> tuple[dict[str, bytes], bytes]:
    return contents(folder / "out.zarr"), (folder / "t.csv").read_bytes()


@pytest.fixture
def undisturbed(
    job: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[dict[str, bytes], bytes]:
    (tmp_path / "first").mkdir()
    beside = tmp_path / "first" / "out.zarr", *SETTINGS, "--table", tmp_path / "first" / "t.csv"
    assert run_here(capsys, "segment", *job, *beside).code == 0
    return read_outputs(tmp_path / "first")


def test_killed_again_and_again_a_segmentation_ends_with_the_same_bytes(
    job: tuple[object, ...],
    undisturbed: tuple[dict[str, bytes], bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "again"
    folder.mkdir()
    command = ("segment", *job, folder / "out.zarr", *SETTINGS, "--table", folder / "t.csv", "--resume", "--json")
    for number in (9, 40, 27):  # blocks of all stages: in predict, in label, in what comes after
        process = start(*command)
        stop_after(process, "BlockDone", number, signal.SIGKILL)
        assert finish(process).code == -signal.SIGKILL
        assert not (folder / "out.zarr").exists()
        assert not (folder / "t.csv").exists()
    outcome = run_here(capsys, *command)
    assert outcome.code == 0, outcome.err
    assert outcome.document["computed_blocks"] == 0
    assert read_outputs(folder) == undisturbed
    assert sorted(path.name for path in folder.iterdir()) == ["out.zarr", "t.csv"]


def test_interrupted_segmentation_says_how_to_go_on_and_other_blocks_give_the_same_bytes(
    job: tuple[object, ...],
    undisturbed: tuple[dict[str, bytes], bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "again"
    folder.mkdir()
    command = ("segment", *job, folder / "out.zarr", *SETTINGS, "--table", folder / "t.csv", "--json")
    process = start(*command, "--scheduler", "local", "--workers", 2)
    stop_after(process, "BlockDone", 40, signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130, outcome.err
    last = Outcome(0, outcome.err, []).document
    assert "the same command with --resume goes on" in last["message"]
    assert not (folder / "out.zarr").exists()
    monkeypatch.setenv("VOXELFOREST_BLOCK_VOXELS", "16384")  # other blocks, of the same chunks
    settings.cache_clear()
    again = run_here(capsys, *command, "--resume", "--scheduler", "local", "--workers", 1)
    assert again.code == 0, again.err
    assert read_outputs(folder) == undisturbed


def test_disk_that_fills_leaves_nothing_that_looks_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smooth = ndimage.gaussian_filter(np.random.default_rng(2).random((40, 50, 45)), 1)
    ranks = smooth.ravel().argsort().argsort().reshape(smooth.shape)
    np.save(tmp_path / "map.npy", (ranks * 255 // ranks.max()).astype(np.uint8))
    given = (
        "--from",
        tmp_path / "map.npy",
        "--axes",
        "zyx",
        tmp_path / "out.zarr",
        "--threshold",
        0.9,
        "--min-size",
        1,
    )
    command = ("segment", *given, "--sigma", 0, "--table", tmp_path / "t.csv", "--json")
    said = {}
    for limit in (3_300, 92_000):  # less than a chunk, and less than the table
        process = start(*command, "--resume", prepare=functools.partial(limit_files, limit))
        outcome = finish(process)
        assert outcome.code == 1, outcome.err
        said[limit] = json.loads(outcome.err[-1])["message"]
        assert not (tmp_path / "out.zarr").exists()
        assert not (tmp_path / "t.csv").exists()
    assert "out.partial.zarr: File too large; what is finished is kept" in said[3_300]
    assert f"cannot write {tmp_path / 't.csv'}: File too large" in said[92_000]
    outcome = run_here(capsys, *command, "--resume")
    assert outcome.code == 0, outcome.err
    assert outcome.document["objects"] == len((tmp_path / "t.csv").read_text().splitlines()) - 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.npy", "out.zarr", "t.csv"]


def limit_files(size: int) -> None:
    """No file larger than this, in place of a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
