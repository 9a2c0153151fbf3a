"""Tables in files: whole or absent, the same however they come in pieces."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from pyarrow import parquet

from pipeline.errors import MissingExtraError, ReadError, StoreError, WriteError
from pipeline.object_files import check_table, write_table

FRAME = pandas.DataFrame(
    {
        "id": np.array([1, 2**63], np.uint64),
        "size": [3, 4],
        "centroid_x": [1 / 3, 2e-17],
        "unit": ["µm", "µm"],
        "touches_border": [True, False],
    }
)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_table_in_pieces_is_read_back_exactly(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("older")
    rows = write_table(tmp_path / name, (FRAME[i : i + 1] for i in range(2)), {"unit": "µm"})
    read: Any = pandas.read_csv if name.endswith("csv") else pandas.read_parquet
    assert rows == 2
    pandas.testing.assert_frame_equal(read(tmp_path / name), FRAME, check_exact=True, check_dtype=False)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_parquet_says_where_the_objects_come_from(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", [FRAME], {"unit": "µm"})
    kept = parquet.read_schema(tmp_path / "t.parquet").metadata[b"voxelforest"]
    assert json.loads(kept) == {"unit": "µm"}


def test_table_without_objects_has_its_columns(tmp_path: Path) -> None:
    for name in ("t.csv", "t.parquet"):
        assert write_table(tmp_path / name, [FRAME[:0]], {}) == 0
    assert (tmp_path / "t.csv").read_text() == ",".join(FRAME.columns) + "\n"
    assert list(pandas.read_parquet(tmp_path / "t.parquet").columns) == list(FRAME.columns)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_failure_on_the_way_leaves_the_older_table(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("older")

    def broken(error: Exception) -> Iterator[pandas.DataFrame]:
        yield FRAME
        raise error

    with pytest.raises(ReadError):
        write_table(tmp_path / name, broken(ReadError("damaged")), {})
    with pytest.raises(WriteError, match=f"cannot write .*{name}: No space"):
        write_table(tmp_path / name, broken(OSError(28, "No space left on device")), {})
    assert (tmp_path / name).read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_is_no_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in (tmp_path / "t.txt", tmp_path / "none" / "t.csv", "s3://bucket/t.csv"):
        with pytest.raises(StoreError, match="table"):
            check_table(bad)
    assert check_table(tmp_path / "t.parquet") == tmp_path / "t.parquet"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'voxelforest\[formats\]'; or write .csv"):
        check_table(tmp_path / "t.parquet")
