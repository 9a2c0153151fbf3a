from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.axes import AxesGuessedWarning
from pipeline.errors import VolumeError
from pipeline.formats import npy, open_source
from pipeline.volume import open_raw
from tests.commands import run_here
from tests.pipeline.formats.contract import Array, VolumeContract, read_whole


class TestNpy(VolumeContract):
    def write(self, path: Path, array: Array) -> Path:
        np.save(path / "v.npy", array)
        return path / "v.npy"


def test_fortran_order_reads_as_written(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(24, dtype=">i2").reshape(2, 3, 4))
    np.save(tmp_path / "f.npy", array)
    source = open_source(tmp_path / "f.npy")
    np.testing.assert_array_equal(read_whole(source), array)
    np.testing.assert_array_equal(source.read((1, 0, 2), (2, 2, 4)), array[1:2, 0:2, 2:4])


def test_chunks_follow_the_order_in_the_file(tmp_path: Path) -> None:
    np.lib.format.open_memmap(tmp_path / "c.npy", "w+", "u1", (4096, 128, 128))
    np.lib.format.open_memmap(tmp_path / "f.npy", "w+", "u1", (4096, 128, 128), fortran_order=True)
    assert open_source(tmp_path / "c.npy").chunks == (1024, 128, 128)
    assert open_source(tmp_path / "f.npy").chunks == (4096, 128, 32)


@pytest.mark.parametrize(
    "array",
    [
        np.array([[{}, 1]], dtype=object),  # a pickle inside
        np.zeros((2, 2), "c8"),
        np.zeros((2, 2), "U3"),
        np.zeros((2, 2), [("a", "u1")]),
        np.zeros((2, 2), "M8[s]"),
        np.zeros((0, 4), "u1"),  # no voxels
    ],
    ids=["object", "complex", "string", "structured", "time", "empty"],
)
def test_what_is_no_volume_is_refused(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(VolumeError, match=r"bad\.npy"):
        open_source(tmp_path / "bad.npy")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04zip", b"\x80\x04N."], ids=repr)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.npy").write_bytes(content)
    with pytest.raises(VolumeError, match=r"bad\.npy: not a readable \.npy file"):
        open_source(tmp_path / "bad.npy")


def write_noted(folder: Path, **changes: Any) -> Path:
    """A file of 3 x 4 x 5 x 2 voxels with the notes of the writer beside it, changed as asked."""
    path = folder / "v.npy"
    np.save(path, np.arange(120, dtype="u1").reshape(3, 4, 5, 2))
    found = path.stat()
    notes = {
        "axes": "yzxc",
        "class_names": ["a", "b"],
        "spacing": {"z": 2.0, "x": 0.5},
        "units": {"z": "um"},
        "file": [found.st_size, found.st_mtime_ns],
    }
    (folder / "v.npy.json").write_text(json.dumps({**notes, **changes}))
    return path


def test_notes_of_the_writer_name_axes_channels_and_voxel_size(tmp_path: Path) -> None:
    volume = open_raw(write_noted(tmp_path))  # a guess would warn
    assert (volume.source_axes, volume.axes_reason) == ("yzxc", "axes yzxc, as the file names them")
    assert volume.channel_names == ("a", "b")
    assert (volume.spacing, volume.units) == ({"z": 2.0, "x": 0.5}, {"z": "um"})
    assert open_raw(tmp_path / "v.npy", axes="zyxc").source_axes == "zyxc"


def test_names_of_classes_are_not_those_of_one_channel(tmp_path: Path) -> None:
    assert open_raw(write_noted(tmp_path, class_names=["a", "b", "c"])).channel_names == ()


def test_notes_that_contradict_the_array_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"v\.npy: the file names its axes 'zyx' .*4-dimensional data"):
        open_raw(write_noted(tmp_path, axes="zyx"))


@pytest.mark.parametrize(
    "changes",
    [
        {"file": [1, 2]},
        {"file": None},
        {"axes": "zyxq"},
        {"axes": ""},
        {"axes": None},
        {"spacing": {"z": "far"}},
        {"spacing": [1]},
        {"units": 3},
        {"class_names": 3},
        {"more": "x" * npy.LARGEST_NOTES},
    ],
    ids=lambda changes: repr(changes)[:30],
)
def test_notes_of_another_state_or_damaged_ones_are_not_taken(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.warns(AxesGuessedWarning):
        volume = open_raw(write_noted(tmp_path, **changes))
    assert (volume.source_axes, volume.spacing, volume.channel_names) == ("zyxc", {}, ())


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"[" * 100_000, b"\xff", b'{"file": 1e999}'], ids=lambda text: repr(text[:9])
)
def test_notes_that_are_no_object_are_not_taken(tmp_path: Path, text: bytes) -> None:
    path = write_noted(tmp_path)
    (tmp_path / "v.npy.json").write_bytes(text)
    assert open_source(path).axes is None


@pytest.mark.parametrize("put", [os.mkdir, os.mkfifo, lambda path: os.symlink("elsewhere.json", path)])
def test_notes_are_a_file_and_no_link(tmp_path: Path, put: Callable[[Path], None]) -> None:
    path = write_noted(tmp_path)
    (tmp_path / "v.npy.json").rename(tmp_path / "elsewhere.json")
    put(tmp_path / "v.npy.json")
    assert open_source(path).axes is None


def test_own_prediction_is_opened_without_a_guess(
    golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.npy"
    job = (golden_dir / "projects" / "pc_3d.ilp", golden_dir / "in_3d_u8.npy", out)
    assert run_here(capsys, "predict", *job).code == 0
    outcome = run_here(capsys, "info", out)
    assert outcome.code == 0
    text = "\n".join([*outcome.out, *outcome.err])
    assert "as the file names them" in text
    assert "guessed" not in text
    assert open_raw(out).channel_names == ("Label 1", "Label 2", "Label 3")
