"""Rows of objects on disk, read back in windows."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import WriteError
from pipeline.measurement import empty_rows, row_type
from pipeline.object_rows import read_windows, rows_path, write_rows


@given(seed=st.integers(0, 2**32), files=st.integers(0, 9), most=st.sampled_from([1, 300, 1000, 10**6]))
def test_windows_hold_all_rows_once_and_cut_no_object(
    tmp_path_factory: pytest.TempPathFactory, seed: int, files: int, most: int
) -> None:
    folder, rng = tmp_path_factory.mktemp("rows"), np.random.default_rng(seed)
    paths, written = [], [empty_rows(2)]
    for number in range(files):
        rows = np.zeros(rng.integers(0, 900), row_type(2))
        rows["t"], rows["id"] = (
            rng.integers(0, 2, len(rows)),
            rng.integers(1, 2**63, 40, np.uint64).repeat(30)[: len(rows)],
        )
        rows["cell"], rows["count"] = number, np.arange(len(rows))
        rows = rows[np.lexsort((rows["id"], rows["t"]))]
        paths.append(rows_path(folder, number))
        write_rows(paths[-1], rows)
        written.append(rows)
    windows = list(read_windows(paths, 2, most))
    assert windows
    order = ("count", "cell", "id", "t")
    whole = np.concatenate(written)
    read = np.concatenate(windows)
    assert np.array_equal(np.sort(whole, order=order), np.sort(read, order=order))
    keys = [{(int(row["t"]), int(row["id"])) for row in window} for window in windows if len(window)]
    assert all(max(before) < min(after) for before, after in itertools.pairwise(keys))
    if most == 300 and len(whole) > 3000:
        assert len(windows) > 2


def test_windows_are_about_as_large_as_asked(tmp_path: Path) -> None:
    rows = np.zeros(50_000, row_type(0))
    rows["id"] = np.arange(1, 50_001)
    write_rows(rows_path(tmp_path, 1234), rows)
    assert rows_path(tmp_path, 1234) == tmp_path / "1" / "1234.npy"
    sizes = [len(window) for window in read_windows([rows_path(tmp_path, 1234)], 0, 2048)]
    assert sum(sizes) == 50_000
    assert max(sizes) <= 2 * 2048


def test_disk_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("in the way")
    with pytest.raises(WriteError, match="cannot write"):
        write_rows(rows_path(tmp_path, 0), empty_rows(1))
