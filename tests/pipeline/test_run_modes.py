"""Runs where something is there already, or goes wrong: resumed, replaced, refused; what is left is told apart."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from pipeline.axes import AxesGuessedWarning
from pipeline.cli import run_command
from pipeline.config import settings
from pipeline.errors import CancelledError, ClusterError, PlanError, ReadError, StoreError
from pipeline.formats.handles import close_handles
from pipeline.progress import BlockDone, Event, Progress
from pipeline.project import open_project
from pipeline.run import run
from pipeline.volume import open_raw
from tests.outputs import contents
from tests.runs import make_request, run_quietly, wait_for_schedulers

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.mark.parametrize("name", ["out.zarr", "out.h5", "out.npy"])
def test_resume_begins_where_there_is_nothing_and_leaves_a_finished_output_alone(
    golden_dir: Path, tmp_path: Path, name: str
) -> None:
    request = make_request(golden_dir, tmp_path / name, "pc_2d", mode="resume")
    assert not run_quietly(request).reused
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = run_quietly(request)
    assert again.reused
    assert again.computed_blocks == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def interrupt_after(blocks: int) -> Progress:
    def interrupt(event: Event) -> None:
        if isinstance(event, BlockDone) and event.blocks_done == blocks:
            raise KeyboardInterrupt

    return Progress(interrupt)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"dtype": "uint8"}, "digest"),
        ({"outputs": ("uncertainty",)}, "digest"),
        ({"ome_version": "0.4"}, "version"),
        ({"project": "pc_2d_old"}, "digest"),
    ],
)
def test_resume_of_another_run_is_refused(golden_dir: Path, tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    path = tmp_path / "out.zarr"
    with pytest.raises(CancelledError, match="the same command with --resume goes on"):
        run(make_request(golden_dir, path, "pc_2d"), interrupt_after(2))
    before = contents(tmp_path)
    with pytest.raises(StoreError, match=f"cannot go on with .*: its {what} is"):
        run_quietly(make_request(golden_dir, path, **{"project": "pc_2d", **changes}, mode="resume"))
    assert contents(tmp_path) == before


def test_resume_with_a_changed_volume_is_refused(golden_dir: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "raw.npy", np.load(golden_dir / "in_2d_u8.npy"))
    request = make_request(golden_dir, tmp_path / "out.zarr", "pc_2d")
    with pytest.raises(CancelledError):
        run(replace(request, volume=open_raw(tmp_path / "raw.npy", axes="yx")), interrupt_after(2))
    np.save(tmp_path / "raw.npy", np.load(golden_dir / "in_2d_u8.npy") + 1)
    with pytest.raises(StoreError, match="its digest is"):
        run_quietly(replace(request, volume=open_raw(tmp_path / "raw.npy", axes="yx"), mode="resume"))


def test_interrupted_overwriting_keeps_the_old_output_and_goes_on(golden_dir: Path, tmp_path: Path) -> None:
    request = make_request(golden_dir, tmp_path / "out.zarr", "pc_2d", outputs=("segmentation",))
    run_quietly(request)
    old = contents(tmp_path / "out.zarr")
    with pytest.raises(StoreError, match="exists; choose another OUT, or --overwrite it"):
        run_quietly(request)
    wanted = replace(request, outputs=("probabilities",), mode="overwrite")
    with pytest.raises(CancelledError, match="with --resume instead of --overwrite goes on"):
        run(wanted, interrupt_after(2))
    assert contents(tmp_path / "out.zarr") == old
    assert not run_quietly(replace(wanted, mode="resume")).reused
    assert zarr.open_array(tmp_path / "out.zarr" / "0", mode="r").dtype == np.float32


@pytest.mark.parametrize("kind", ["volume", "project"])
@pytest.mark.parametrize("mode", ["new", "overwrite", "resume"])
def test_output_never_replaces_an_input(golden_dir: Path, tmp_path: Path, kind: str, mode: Any) -> None:
    folder = tmp_path / "out.zarr"
    zarr.create_array(folder / "raw.zarr", data=np.load(golden_dir / "in_2d_u8.npy"))
    shutil.copy(golden_dir / "projects" / "pc_2d.ilp", folder / "pc.ilp")
    before = contents(tmp_path)
    request = make_request(golden_dir, folder, "pc_2d", mode=mode)
    if kind == "volume":
        request = replace(request, volume=open_raw(folder / "raw.zarr", axes="yx"))
    else:
        request = replace(request, project=open_project(folder / "pc.ilp"))
    with pytest.raises(StoreError, match="contains the input"):
        run_quietly(request)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"scheduler": "thread"}, PlanError, "There is no scheduler 'thread'"),
        ({"scheduler": "tcp://127.0.0.1:1"}, ClusterError, "No Dask scheduler can be used at tcp://127.0.0.1:1"),
        ({"stage": 2}, PlanError, "stage 2, but"),
        ({"outputs": ("features", "segmentation"), "path": "out.h5"}, StoreError, "holds one image, 2 were asked for"),
    ],
)
def test_refused_before_it_begins_a_run_leaves_nothing(
    golden_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    error: Any,
    text: str,
) -> None:
    wait_for_schedulers(monkeypatch, seconds=0.5)
    path = tmp_path / changes.pop("path", "out.zarr")
    with pytest.raises(error, match=text):
        run_quietly(make_request(golden_dir, path, **changes))
    assert list(tmp_path.iterdir()) == []


def test_unreachable_scheduler_leaves_an_earlier_runs_blocks(
    golden_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_schedulers(monkeypatch, seconds=0.5)
    request = make_request(golden_dir, tmp_path / "out.zarr", "pc_2d")
    with pytest.raises(CancelledError):
        run(request, interrupt_after(3))
    before = contents(tmp_path)
    with pytest.raises(ClusterError):
        run_quietly(replace(request, mode="resume", scheduler="tcp://127.0.0.1:1"))
    assert contents(tmp_path) == before


def test_blocks_of_damaged_chunks_are_named_and_all_others_done(
    golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ["predict", str(golden_dir / "projects" / "pc_3d.ilp"), str(tmp_path / "raw.zarr")]
    zarr.create_array(tmp_path / "raw.zarr", data=np.load(golden_dir / "in_3d_u8.npy"), chunks=(16, 16, 16))
    assert run_command([*job, str(tmp_path / "sound.zarr"), "--axes", "zyx"]) == 0
    chunk = tmp_path / "raw.zarr" / "c" / "2" / "2" / "2"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    close_handles()  # chunks that are decoded already are not read again
    capsys.readouterr()
    again = [*job, str(tmp_path / "out.zarr"), "--axes", "zyx", "--json"]
    assert run_command(again) == 1
    said = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert said["code"] == "damaged_blocks"
    found = re.match(
        r"(\d+) block\(s\) could not be computed, at (.*?): \S*raw.zarr: chunk \(2, 2, 2\)", said["message"]
    )
    assert found is not None
    named = found[2].split("; ")
    assert len(named) == int(found[1]) == 8  # the chunk's own block, and those whose halo reaches into it
    assert named[-1] == "t=0:1,z=32:37,y=32:40,x=32:38"
    lost = {f"0/c/0/{z}/{y}/{x}" for z in (1, 2) for y in (1, 2) for x in (1, 2)}
    sound, partial = contents(tmp_path / "sound.zarr"), contents(tmp_path / "out.partial.zarr")
    chunks = {key for key in sound if key.startswith("0/c/")}
    assert {key: partial[key] for key in chunks - lost} == {key: sound[key] for key in chunks - lost}
    assert not lost & set(partial)
    assert not (tmp_path / "out.zarr").exists()
    chunk.write_bytes(whole)
    assert run_command([*again, "--resume"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["computed_blocks"] == 8
    finished = contents(tmp_path / "out.zarr")
    assert {key: finished[key] for key in chunks} == {key: sound[key] for key in chunks}


def test_input_that_is_damaged_everywhere_ends_the_run(
    golden_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXELFOREST_DAMAGED_BLOCKS", "3")
    settings.cache_clear()
    zarr.create_array(tmp_path / "raw.zarr", data=np.load(golden_dir / "in_3d_u8.npy"), chunks=(16, 16, 16))
    for chunk in (tmp_path / "raw.zarr" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"damaged")
    with pytest.warns(AxesGuessedWarning):
        volume = open_raw(tmp_path / "raw.zarr", project_axes="zyx")
    with pytest.raises(ReadError) as caught:
        run_quietly(replace(make_request(golden_dir, tmp_path / "out.zarr"), volume=volume))
    assert caught.value.code is None
    settings.cache_clear()
