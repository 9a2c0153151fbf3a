from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.guarded_file import GuardedFile


def write_hdf5(path: Path, values: np.ndarray[Any, Any]) -> GuardedFile:
    with GuardedFile(path) as guarded, h5py.File(guarded, "w") as file:
        data = file.create_dataset("data", shape=values.shape, chunks=(64, 64), dtype=values.dtype)
        for start in range(0, len(values), 64):
            data[start : start + 64] = values[start : start + 64]
    return guarded


def test_hdf5_written_through_it_is_a_plain_file(tmp_path: Path) -> None:
    values = np.arange(200 * 100, dtype=np.float32).reshape(200, 100)
    write_hdf5(tmp_path / "out.h5", values).check()
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.array_equal(file["data"][...], values)


def test_full_disk_is_raised_after_hdf5_has_let_go() -> None:
    guarded = write_hdf5(Path("/dev/full"), np.ones((200, 100), np.float32))
    with pytest.raises(OSError, match="No space left on device"):
        guarded.check()


def test_failed_truncate_is_remembered(tmp_path: Path) -> None:
    with GuardedFile(tmp_path / "file") as file:
        assert file.truncate(-1) == 0
        with pytest.raises(OSError, match="Invalid"):
            file.check()


def test_nothing_is_written_after_a_failure(tmp_path: Path) -> None:
    with GuardedFile(tmp_path / "file") as file:
        file.write(b"before")
        file.error = OSError(28, "No space left on device")
        assert file.write(b"after") == 5
    assert (tmp_path / "file").read_bytes() == b"before"
