"""The command line as people and programs meet it: what it prints where, exit codes, and one line for each failure."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from pipeline.config import settings
from tests.commands import COMMAND, finish, run_here, start

LIGHT = "import sys\nfrom pipeline.cli import run_command\ncode = run_command(sys.argv[1:])\n"
HEAVY = {"numba", "dask", "distributed", "xarray", "sklearn", "zarr", "matplotlib", "skimage", "scipy"}


@pytest.fixture(scope="module")
def files(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good project and volume, and with everything that may be wrong with either."""
    folder = tmp_path_factory.mktemp("files")
    raw = np.load(golden_dir / "in_3d_u8.npy")
    shutil.copy(golden_dir / "projects" / "pc_3d.ilp", folder / "pc.ilp")
    for name, values in {
        "raw.npy": raw,
        "cut.npy": raw,
        "two_channels.npy": np.stack([raw, raw], axis=-1),
        "thin.npy": raw[:3],
        "six_axes.npy": raw[None, None, None],
        "complex.npy": raw.astype(np.complex64),
    }.items():
        np.save(folder / name, values)
    os.truncate(folder / "cut.npy", 10_000)
    with h5py.File(folder / "two.h5", "w") as file:
        file["first"] = raw
        file.create_dataset("second", data=raw, chunks=(16, 16, 16), compression="gzip")
        damaged = file["second"].id.get_chunk_info(4).byte_offset
    shutil.copy(folder / "two.h5", folder / "cut.h5")
    os.truncate(folder / "cut.h5", (folder / "cut.h5").stat().st_size - 2000)
    with (folder / "two.h5").open("r+b") as binary:
        binary.seek(damaged)
        binary.write(bytes(100))
    zarr.create_array(folder / "cut.zarr", data=raw, chunks=(16, 16, 16))
    os.truncate(folder / "cut.zarr" / "c" / "1" / "1" / "1", 50)
    shutil.copy(folder / "pc.ilp", folder / "cut.ilp")
    os.truncate(folder / "cut.ilp", 20_000)
    (folder / "junk.ilp").write_text("no project")
    (folder / "folder.ilp").mkdir()
    (folder / "folder.npy").mkdir()
    (folder / "raw.czi").write_text("")
    return folder


# Exit code, what the line says, and the arguments: PROJECT and RAW in the folder `files`, OUT and options.
BAD_INPUT: dict[str, tuple[int, str, str]] = {
    "missing volume": (2, "nothing.h5: no such file", "pc.ilp nothing.h5 out.zarr"),
    "missing project": (2, "nothing.ilp: No such file", "nothing.ilp raw.npy out.zarr"),
    "wrong dataset": (2, "no dataset 'third' inside; it holds first", "pc.ilp two.h5 out.zarr --dataset third"),
    "several datasets": (2, "holds first uint8 (37, 40, 38); second", "pc.ilp two.h5 out.zarr"),
    "number of axes": (2, "'zyxc' (4 letters)", "pc.ilp raw.npy out.zarr --axes zyxc"),
    "unknown axes": (2, "'qyx' holds q", "pc.ilp raw.npy out.zarr --axes qyx"),
    "ambiguous axes": (2, "no rule names the axes", "pc.ilp six_axes.npy out.zarr"),
    "spatial axes": (2, "[dimensions]", "pc.ilp raw.npy out.zarr --axes tyx"),
    "channels": (2, "has 2 channel(s), but", "pc.ilp two_channels.npy out.zarr"),
    "too thin": (2, "scale 0.7 needs at least 4", "pc.ilp thin.npy out.zarr"),
    "type": (2, "complex64 is not readable", "pc.ilp complex.npy out.zarr"),
    "no level": (2, "NPY files have no level", "pc.ilp raw.npy out.zarr --level 1"),
    "region outside": (2, "whose z is 0:37 [region]", "pc.ilp raw.npy out.zarr --roi z=0:38"),
    "region empty": (2, "[region]", "pc.ilp raw.npy out.zarr --roi z=5:5"),
    "region malformed": (2, "write it as z=0:64", "pc.ilp raw.npy out.zarr --roi z=5"),
    "region of channels": (2, "write it as z=0:64", "pc.ilp raw.npy out.zarr --roi c=0:1"),
    "region twice": (2, "is given twice", "pc.ilp raw.npy out.zarr --roi z=0:1,z=2:3"),
    "folder of output": (2, "does not exist", "pc.ilp raw.npy missing/out.zarr"),
    "unwritable output": (2, "cannot create /proc/out.partial.zarr", "pc.ilp raw.npy /proc/out.zarr"),
    "suffix of output": (2, "outputs end in .zarr, .h5, .npy, .tif", "pc.ilp raw.npy out.n5"),
    "remote output": (2, "outputs go to local folders", "pc.ilp raw.npy gs://bucket/out.zarr"),
    "output exists": (2, "exists; choose another OUT, or --overwrite it", "pc.ilp raw.npy there.h5"),
    "output is input": (2, "is the input, which is never written to", "pc.ilp raw.npy {files}/raw.npy --overwrite"),
    "output in input": (2, "lies in the input", "pc.ilp cut.zarr {files}/cut.zarr/out.zarr"),
    "vendor's format": (2, "convert with bioformats2raw", "pc.ilp raw.czi out.zarr"),
    "folder as volume": (2, "is a folder", "pc.ilp folder.npy out.zarr"),
    "folder as project": (2, "is a folder", "folder.ilp raw.npy out.zarr"),
    "project cut off": (2, "[not_hdf5]", "cut.ilp raw.npy out.zarr"),
    "project is junk": (2, "[not_hdf5]", "junk.ilp raw.npy out.zarr"),
    "HDF5 cut off": (2, "not a readable HDF5 file", "pc.ilp cut.h5 out.zarr"),
    "NPY cut off": (2, "not a readable .npy file", "pc.ilp cut.npy out.zarr"),
    "HDF5 chunk damaged": (1, "is damaged", "pc.ilp two.h5 out.h5 --dataset second"),
    "Zarr chunk cut off": (1, "chunk (1, 1, 1) at", "pc.ilp cut.zarr out.zarr"),
    "output name": (2, "[output]", "pc.ilp raw.npy out.zarr --output probs"),
    "output twice": (2, "[output]", "pc.ilp raw.npy out.zarr --output features --output features"),
    "two outputs, one file": (2, "use .zarr", "pc.ilp raw.npy out.h5 --output features --output segmentation"),
    "dtype": (2, "[dtype]", "pc.ilp raw.npy out.zarr --dtype float64"),
    "dtype of labels": (2, "[dtype]", "pc.ilp raw.npy out.zarr --dtype uint8 --output segmentation"),
    "stage": (2, "has 1 [stage]", "pc.ilp raw.npy out.zarr --stage 2"),
    "stage is a word": (2, "Invalid value for '--stage'", "pc.ilp raw.npy out.zarr --stage last"),
    "OME version": (2, "'0.3' is not one of", "pc.ilp raw.npy out.zarr --ome-version 0.3"),
    "scheduler": (2, "choose threads, local, ec2, or", "pc.ilp raw.npy out.zarr --scheduler thread"),
    "no scheduler there": (1, "tcp://127.0.0.1:1", "pc.ilp raw.npy out.zarr --scheduler tcp://127.0.0.1:1"),
    "workers": (2, "at least 1 is needed", "pc.ilp raw.npy out.zarr --workers 0"),
    "contradiction": (2, "exclude each other", "pc.ilp raw.npy out.zarr --resume --overwrite"),
    "argument missing": (2, "Missing argument", "pc.ilp raw.npy"),
    "unknown option": (2, "--rio", "pc.ilp raw.npy out.zarr --rio z=0:1"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line_and_leaves_nothing_that_looks_whole(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    code, text, arguments = BAD_INPUT[case]
    monkeypatch.setenv("VOXELFOREST_CONNECT_SECONDS", "0.5")
    settings.cache_clear()
    (tmp_path / "there.h5").write_text("mine")
    project, raw, *rest = arguments.format(files=files).split()
    monkeypatch.chdir(tmp_path)
    inputs = sorted(files.rglob("*"))
    outcome = run_here(capsys, "predict", files / project, files / raw, *rest)
    settings.cache_clear()
    assert outcome.code == code, outcome.err
    assert outcome.out == []
    assert text in outcome.err[-1]
    assert [line for line in outcome.err if line.startswith("voxelforest: ")] == outcome.err[-1:]
    assert "Traceback" not in "".join(outcome.err)
    if code == 2:  # nothing but the note on axes comes before
        assert len(outcome.err) <= 2
    allowed = {"there.h5"} | ({"out.partial.zarr"} if code == 1 else set())
    assert {path.name for path in tmp_path.iterdir()} <= allowed
    assert (tmp_path / "there.h5").read_text() == "mine"
    assert sorted(files.rglob("*")) == inputs


def test_full_disk_is_one_line_and_what_is_finished_stays(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ["predict", files / "pc.ilp", files / "raw.npy", tmp_path / "out.zarr"]
    assert run_here(capsys, *job[:3], tmp_path / "before.zarr").code == 0  # kernels are compiled and kept now
    outcome = finish(start(*job, "--json", prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))))
    assert outcome.code == 1
    error = json.loads(outcome.err[-1])
    assert "out.partial.zarr: File too large; what is finished is kept, --resume goes on" in error["message"]
    assert not (tmp_path / "out.zarr").exists()
    assert not list(tmp_path.rglob("*.partial"))


def test_json_of_a_run_is_one_line_on_stdout_and_lines_on_stderr(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ["predict", files / "pc.ilp", files / "raw.npy", tmp_path / "out.zarr", "--json"]
    outcome = run_here(capsys, *job)
    assert outcome.code == 0
    assert len(outcome.out) == 1
    document = outcome.document
    assert document["output"] == str(tmp_path / "out.zarr")
    assert document["voxels"] == 37 * 40 * 38
    assert document["seconds"] > 0
    assert document["peak_bytes"] > 2**20
    assert {json.loads(line)["event"] for line in outcome.err} >= {"Note", "StageStarted", "BlockDone", "StageFinished"}
    again = run_here(capsys, *job)
    assert again.code == 2
    assert json.loads(again.err[-1]) == {
        "event": "Error",
        "message": f"{tmp_path / 'out.zarr'} exists; choose another OUT, or --overwrite it",
        "code": None,
        "exit_code": 2,
    }
    assert run_here(capsys, *job, "--resume").document["reused"] is True


def test_people_are_told_the_axes_once_what_was_written_and_how_to_look(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ["predict", files / "pc.ilp", files / "raw.npy", tmp_path / "out.zarr", "--roi", "z=1:9"]
    outcome = run_here(capsys, *job, "--output", "probabilities", "--output", "segmentation")
    assert [line for line in outcome.err if "as the project was trained" in line] == outcome.err[:1]
    assert outcome.out[0].startswith(f"{tmp_path / 'out.zarr'}: 12,160 voxels in ")
    assert outcome.out[1:3] == ["  probabilities: c=3 z=8 y=40 x=38 float32", "  segmentation: z=8 y=40 x=38 uint8"]
    assert outcome.out[3].startswith("look: napari ")
    again = run_here(capsys, *job, "--resume", "--output", "probabilities", "--output", "segmentation")
    assert again.code == 0
    assert "was finished before, nothing is left to do" in again.out[0]


def run_light(*arguments: object) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run a command in a fresh Python; returns the outcome and which heavy packages it imported."""
    program = f"{LIGHT}print(*sys.modules)\nsys.exit(code)"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return outcome, {name.split(".")[0] for name in outcome.stdout.splitlines()[-1].split()} & HEAVY


def test_a_project_is_described_without_heavy_packages(files: Path) -> None:
    outcome, imported = run_light("info", files / "pc.ilp")
    assert outcome.returncode == 0, outcome.stderr
    assert "Gaussian Smoothing" in outcome.stdout
    assert imported == set()


def test_a_volume_is_described_without_compiling(files: Path) -> None:
    outcome, imported = run_light("info", files / "raw.npy")
    assert outcome.returncode == 0, outcome.stderr
    assert "z=37 y=40 x=38" in outcome.stdout
    assert imported == set()


def test_info_as_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = json.loads("\n".join(run_here(capsys, "info", files / "pc.ilp", "--json").out))
    assert [row["name"] for row in project["stages"][0]["classes"]] != []
    outcome = run_here(capsys, "info", files / "raw.npy", "--project", files / "pc.ilp", "--json")
    volume = json.loads("\n".join(outcome.out))
    assert volume["plan"]["tasks"] == 1
    assert json.loads(outcome.err[0])["event"] == "Note"


@pytest.mark.parametrize("arguments", ["info nothing.h5", "info nothing.ilp", "demo raw.npy", "infos raw.npy", ""])
def test_other_commands_refuse_with_code_2(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str
) -> None:
    monkeypatch.chdir(files)
    outcome = run_here(capsys, *arguments.split())
    assert outcome.code == 2
    if arguments:
        assert len(outcome.err) == 1
    else:
        assert "Usage: voxelforest" in "\n".join(outcome.out)


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "-h"], ["--version"], ["doctor"], ["doctor", "--json"]])
def test_questions_about_itself_are_answered(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    outcome = run_here(capsys, *arguments)
    assert outcome.code == 0
    assert outcome.out
    assert outcome.err == []


def fail_with(error: BaseException) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (PermissionError(13, "Permission denied", "x.h5"), 1, "voxelforest: x.h5: Permission denied"),
        (MemoryError(), 1, "voxelforest: memory ran out; use fewer --workers or a smaller VOXELFOREST_TASK_MEMORY"),
        (KeyboardInterrupt(), 130, "voxelforest: interrupted"),
        (
            ValueError("two\nlines"),
            1,
            "voxelforest: this should not happen: ValueError: two lines (VOXELFOREST_DEBUG=1 shows where) [bug]",
        ),
    ],
)
def test_anything_else_that_is_raised_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    monkeypatch.setattr("pipeline.project.open_project", fail_with(error))
    outcome = run_here(capsys, "info", "pc.ilp")
    assert outcome.code == code
    assert outcome.err == [line]


def test_debugging_shows_where_a_bug_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VOXELFOREST_DEBUG", "1")
    settings.cache_clear()
    monkeypatch.setattr("pipeline.project.open_project", fail_with(ValueError("odd")))
    with pytest.raises(ValueError, match="odd"):
        run_here(capsys, "info", "pc.ilp")
    settings.cache_clear()


def test_unusable_setting_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VOXELFOREST_TASK_MEMORY", "much")
    settings.cache_clear()
    outcome = run_here(capsys, "doctor")
    settings.cache_clear()
    assert outcome.code == 2
    assert outcome.err[0].startswith("voxelforest: VOXELFOREST_TASK_MEMORY=much is not usable")
    assert len(outcome.err) == 1


def test_a_reader_that_goes_away_is_no_error_to_talk_about(files: Path) -> None:
    command = f"'{COMMAND}' info '{files / 'pc.ilp'}' | true"
    outcome = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert outcome.stderr == ""
