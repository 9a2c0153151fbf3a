from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.durability import lock, make_folder, remove, sweep, unlock, write_file
from pipeline.errors import StoreError
from tests.outputs import begin, make_spec

ROOT = Path(__file__).parents[2]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The calls of fsync and rename with the names of the files, in order."""
    found: list[tuple[str, str]] = []
    fsync, replace = os.fsync, Path.replace

    def record_fsync(handle: int) -> None:
        found.append(("fsync", os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))))
        fsync(handle)

    def record_replace(self: Path, target: Any) -> Path:
        found.append(("rename", self.name))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "replace", record_replace)
    return found


def test_file_is_flushed_before_it_gets_its_name_and_its_folder_after(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    write_file(tmp_path / "new" / "chunk", b"values")
    assert [what for what, _ in calls] == ["fsync", "fsync", "rename", "fsync"]
    (parent, first), (_, temporary), (_, renamed), (_, folder) = calls
    assert (parent, first) == ("fsync", tmp_path.name)  # the name of the folder that was made
    assert temporary == renamed
    assert temporary.startswith("chunk.")
    assert temporary.endswith(".partial")
    assert folder == "new"


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_chunks_go_through_durable_writes(tmp_path: Path, calls: list[tuple[str, str]], version: Any) -> None:
    store = begin(tmp_path / "out.zarr", make_spec(), version=version)
    store.write("probabilities", (0, 0, 0, 0), np.ones((2, 8, 16, 16), np.float32))
    calls.clear()
    store.write("probabilities", (0, 0, 0, 0), np.ones((2, 8, 16, 16), np.float32))
    assert [what for what, _ in calls] == ["fsync", "rename", "fsync"]
    assert calls[0][1] == calls[1][1]


@pytest.mark.parametrize("name", ["out.h5", "out.npy", "out.tif", "out.png"])
def test_single_files_are_flushed_before_they_get_their_name(
    tmp_path: Path, calls: list[tuple[str, str]], name: str
) -> None:
    spec = make_spec((16, 16), "yx", dtype="uint8")
    store = begin(tmp_path / name, spec)
    store.write("probabilities", (0, 0), np.ones((16, 16), np.uint8))
    calls.clear()
    store.finish()
    made = f"out.partial{Path(name).suffix}"
    assert calls[-3:] == [("fsync", made), ("rename", made), ("fsync", tmp_path.name)]


def test_failed_write_leaves_the_older_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "chunk", b"old")

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_file(tmp_path / "chunk", b"new")
    assert (tmp_path / "chunk").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["chunk"]


def test_sweep_removes_temporary_files_at_any_depth_and_nothing_else(tmp_path: Path) -> None:
    make_folder(tmp_path / "c" / "0")
    (tmp_path / "c" / "0" / "1.abc.partial").write_bytes(b"")
    (tmp_path / "zarr.json.abc.partial").write_bytes(b"")
    (tmp_path / "c" / "0" / "1").write_bytes(b"chunk")
    assert sweep(tmp_path) == 2
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["1"]


def test_folder_keeps_its_document_until_all_else_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out" / "0").mkdir(parents=True)
    for name in (".zgroup", "zarr.json", "zz"):
        (tmp_path / "out" / name).write_text("")
    order: list[str] = []
    unlink = Path.unlink

    def record_unlink(self: Path) -> None:
        order.append(self.name)
        unlink(self)

    monkeypatch.setattr(Path, "unlink", record_unlink)
    remove(tmp_path / "out")
    assert order[0] == "zz"
    assert not (tmp_path / "out").exists()


def test_removing_a_link_keeps_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    remove(tmp_path / "link")
    assert (tmp_path / "real").is_dir()


def test_lock_keeps_another_process_out_until_it_is_let_go(tmp_path: Path) -> None:
    program = "import sys, pathlib; from pipeline.durability import lock; lock(pathlib.Path(sys.argv[1]))"

    def other() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, str(tmp_path)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    lock(tmp_path)
    lock(tmp_path)  # once more by the same process
    assert "is being written by another run" in other().stderr
    unlock(tmp_path)
    assert other().returncode == 0


def test_second_run_on_the_same_output_is_refused_while_the_first_works(tmp_path: Path) -> None:
    begin(tmp_path / "out.zarr", make_spec())
    program = (
        "import sys; from tests.outputs import begin, make_spec; from pathlib import Path\n"
        "from pipeline.errors import StoreError\n"
        "for mode in ('resume', 'overwrite'):\n"
        "    try: begin(Path(sys.argv[1]), make_spec(), mode=mode)\n"
        "    except StoreError as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "out.zarr")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.count("is being written by another run") == 2
    assert (tmp_path / "out.partial.zarr" / "zarr.json").exists()


def test_file_system_without_locks_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("pipeline.durability.fcntl.flock", refuse)
    lock(tmp_path)
    unlock(tmp_path)


def test_folder_held_by_another_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("pipeline.durability.fcntl.flock", refuse)
    with pytest.raises(StoreError, match=str(tmp_path)):
        lock(tmp_path)
