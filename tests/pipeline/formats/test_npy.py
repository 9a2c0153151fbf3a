from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import VolumeError
from pipeline.formats import open_source
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
