"""Files of arrays between the steps of labelling."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from pipeline.errors import WriteError
from pipeline.label_records import Record, pack, unpack, write_record


def test_arrays_come_back(tmp_path: Path) -> None:
    plain = {
        "numbers": np.arange(-3, 9).reshape(3, 4),
        "flags": np.array([True, False]),
        "none": np.empty((2, 0), np.int64),
        "turned": np.arange(6.0).reshape(2, 3).T,
    }
    labels = np.repeat(np.arange(4, dtype=np.uint32), 100).reshape(4, 10, 10)
    write_record(tmp_path / "deep" / "a.objects", plain, {"labels": labels})
    record = Record(tmp_path / "deep" / "a.objects")
    assert record.names() == [*plain, "labels"]
    for name, array in {**plain, "labels": labels}.items():
        np.testing.assert_array_equal(record[name], array)
        assert record[name].dtype == array.dtype
    for name, array in plain.items():
        np.testing.assert_array_equal(record.look_into(name), array)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.objects"]


def test_labels_shrink() -> None:
    labels = np.zeros((64, 64, 64), np.uint32)
    labels[10:30, 20:40, 5:25] = 7
    packed = pack(labels)
    assert len(packed) < labels.nbytes / 500
    np.testing.assert_array_equal(unpack(packed, np.uint32, labels.shape), labels)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with (
        patch("pipeline.durability.os.fsync", side_effect=OSError(28, "No space left on device")),
        pytest.raises(WriteError, match=r"cannot write .*a\.objects: No space left"),
    ):
        write_record(tmp_path / "a.objects", {"numbers": np.arange(5)})
    assert list(tmp_path.iterdir()) == []
