"""Commands over volumes of the archive."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.volume import open_raw
from tests.archive_contents import Archive
from tests.commands import run_here


def test_info_says_what_it_is(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run_here(capsys, "info", "boss://col/exp?channel=DAPI", "--json")
    assert outcome.code == 0, outcome.err
    document = json.loads("".join(outcome.out))
    assert document["shape"] == [16, 36, 40]
    assert document["dtype"] == "uint16"
    outcome = run_here(capsys, "info", "boss://col/none")
    assert (outcome.code, len(outcome.err)) == (2, 1)
    assert "col/none: the archive does not have this" in outcome.err[0]


def test_predict_from_the_archive(
    archive: Archive, golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project, out = golden_dir / "projects" / "pc_3d.ilp", tmp_path / "out.zarr"
    outcome = run_here(capsys, "predict", project, "boss://col/exp?channel=PSD95", out)
    assert outcome.code == 0, outcome.err
    data = archive.places["col", "exp"].channels["PSD95"].data
    assert data is not None
    np.save(tmp_path / "same.npy", data)
    same = run_here(capsys, "predict", project, tmp_path / "same.npy", tmp_path / "same.zarr", "--axes", "zyx")
    assert same.code == 0, same.err
    np.testing.assert_array_equal(open_raw(out)[...], open_raw(tmp_path / "same.zarr")[...])
    assert open_raw(out).spacing == {"c": 1.0, "z": 50.0, "y": 3.0, "x": 3.0}


def test_run_whose_token_expires_goes_on_with_a_new_one(
    archive: Archive, golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", golden_dir / "projects" / "pc_3d.ilp", "boss://col/exp?channel=PSD95", tmp_path / "out.zarr"]
    archive.fail("401", times=99, every=5)
    outcome = run_here(capsys, *command)
    assert outcome.code == 2
    assert [line for line in outcome.err if "the archive does not accept the token; it is wrong or has exp" in line]
    assert not (tmp_path / "out.zarr").exists()
    archive.faults.clear()
    outcome = run_here(capsys, *command, "--resume")
    assert outcome.code == 0, outcome.err


def test_client_is_imported_when_something_is_asked() -> None:
    code = "import sys, pipeline.boss; print([m for m in ('intern', 'requests', 'blosc') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
