"""What every volume format promises; a format's test module subclasses these and says how its files are written."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from pipeline.errors import ReadError, VolumeError
from pipeline.formats import open_source
from pipeline.formats.handles import HANDLES, close_handles
from pipeline.formats.source import Source

Array = npt.NDArray[Any]


def make_array(shape: tuple[int, ...], dtype: str) -> Array:
    """Seeded noise over the middle of the type's range."""
    rng = np.random.default_rng(3)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, 2 if np.dtype(dtype).kind == "b" else 120, shape).astype(dtype)


def read_whole(source: Source) -> Array:
    """All voxels, in the order of the file."""
    return source.read((0,) * len(source.shape), source.shape)


class VolumeContract:
    """Holds for every format."""

    shape: tuple[int, ...] = (13, 30, 41)
    large: tuple[int, ...] = (64, 128, 128)
    dtypes: tuple[str, ...] = ("?", "u1", "i1", "<u2", ">u2", ">i4", "<u8", "<f2", "<f4", ">f4", ">f8")

    def write(self, path: Path, array: Array) -> Path:
        """Write `array` below the folder `path`; the path of what was written."""
        raise NotImplementedError

    def damage(self, path: Path) -> None:
        """Cut off the data of what `write` wrote."""
        os.truncate(path, os.path.getsize(path) - 40)

    @pytest.fixture(autouse=True)
    def _closed(self) -> Iterator[None]:
        yield
        close_handles()

    def make(self, folder: Path, dtype: str = "u1") -> tuple[Source, Array]:
        array = make_array(self.shape, dtype)
        return open_source(self.write(folder, array)), array

    def test_shape_chunks_and_native_dtype(self, tmp_path: Path) -> None:
        source, array = self.make(tmp_path)
        assert source.shape == array.shape
        assert source.dtype == array.dtype.newbyteorder("=")
        assert all(1 <= c <= n for c, n in zip(source.chunks, source.shape, strict=True))

    def test_every_dtype_and_byte_order_reads_as_written(self, tmp_path: Path) -> None:
        for number, dtype in enumerate(self.dtypes):
            (tmp_path / str(number)).mkdir()
            source, array = self.make(tmp_path / str(number), dtype)
            found = read_whole(source)
            np.testing.assert_array_equal(found, array)
            assert found.dtype == source.dtype == np.dtype(dtype).newbyteorder("=")

    def test_box_at_the_far_edge(self, tmp_path: Path) -> None:
        source, array = self.make(tmp_path)
        start = tuple(n - 5 for n in source.shape)
        expected = array[tuple(slice(a, None) for a in start)]
        np.testing.assert_array_equal(source.read(start, source.shape), expected)

    def test_box_outside_is_refused(self, tmp_path: Path) -> None:
        source, _ = self.make(tmp_path)
        beyond = (source.shape[0] + 1, *source.shape[1:])
        with pytest.raises(VolumeError, match="does not lie inside"):
            source.read((0,) * len(source.shape), beyond)
        with pytest.raises(VolumeError, match="does not lie inside"):
            source.read((-1,) * len(source.shape), source.shape)

    def test_empty_box_is_empty(self, tmp_path: Path) -> None:
        source, _ = self.make(tmp_path)
        found = source.read(source.shape, source.shape)
        assert found.size == 0
        assert found.dtype == source.dtype

    def test_result_is_the_readers_own(self, tmp_path: Path) -> None:
        source, array = self.make(tmp_path)
        read_whole(source)[...] = 0
        np.testing.assert_array_equal(read_whole(source), array)

    def test_pickled_source_reads_the_same(self, tmp_path: Path) -> None:
        source, array = self.make(tmp_path)
        read_whole(source)  # an open file must not travel
        other = pickle.loads(pickle.dumps(source))
        assert other.fingerprint == source.fingerprint
        np.testing.assert_array_equal(read_whole(other), array)

    def test_threads_read_the_same(self, tmp_path: Path) -> None:
        source, array = self.make(tmp_path)

        def read(seed: int) -> bool:
            rng = np.random.default_rng(seed)
            start = [int(rng.integers(0, n)) for n in source.shape]
            stop = [int(rng.integers(a + 1, n + 1)) for a, n in zip(start, source.shape, strict=True)]
            expected = array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
            return np.array_equal(source.read(start, stop), expected)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(64)))

    def test_files_close(self, tmp_path: Path) -> None:
        source, _ = self.make(tmp_path)
        read_whole(source)
        close_handles()
        assert len(HANDLES) == 0
        assert [f.path for f in psutil.Process().open_files() if f.path.startswith(str(tmp_path))] == []

    def test_opening_reads_no_voxels(self, tmp_path: Path) -> None:
        self.make(tmp_path)  # imports of the format's library are not what is counted
        (tmp_path / "large").mkdir()
        path = self.write(tmp_path / "large", make_array(self.large, "u1"))
        before = psutil.Process().io_counters().read_chars
        open_source(path)
        assert psutil.Process().io_counters().read_chars - before < 100_000

    def test_missing_file_is_a_volume_error(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, make_array(self.shape, "u1"))
        gone = path.with_name(f"other-{path.name}")
        with pytest.raises(VolumeError, match="no such file"):
            open_source(gone)

    def test_damage_is_one_line_that_names_the_file(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, make_array(self.shape, "u1"))
        self.damage(path)
        with pytest.raises(VolumeError) as caught:
            read_whole(open_source(path))
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_volume_that_vanishes_is_a_read_error(self, tmp_path: Path) -> None:
        source, _ = self.make(tmp_path)
        read_whole(source)
        tmp_path.rename(f"{tmp_path}-moved")
        with pytest.raises(ReadError, match=tmp_path.name):
            read_whole(source)

    def test_volume_that_is_replaced_is_a_read_error_until_opened_again(self, tmp_path: Path) -> None:
        source, array = self.make(tmp_path)
        read_whole(source)
        close_handles()
        path = self.write(tmp_path, array[::-1])
        os.utime(path if path.is_file() else self.document(path), ns=(1, 1))
        with pytest.raises(ReadError, match="changed"):
            read_whole(source)
        again = open_source(path)
        assert again.fingerprint != source.fingerprint
        np.testing.assert_array_equal(read_whole(again), array[::-1])

    def document(self, path: Path) -> Path:
        """The file that stands for a folder's state."""
        raise NotImplementedError


class ChunkedContract(VolumeContract):
    """Holds for formats that store chunks, of which some may be missing."""

    def write_sparse(self, path: Path) -> tuple[Path, Array]:
        """Write a volume of fill value 7, of which just the voxels before (5, 6, 7) are stored; its values."""
        raise NotImplementedError

    def test_missing_chunks_hold_the_fill_value(self, tmp_path: Path) -> None:
        path, expected = self.write_sparse(tmp_path)
        source = open_source(path)
        np.testing.assert_array_equal(read_whole(source), expected)
        assert (source.read((5, 6, 7), source.shape) == 7).all()
