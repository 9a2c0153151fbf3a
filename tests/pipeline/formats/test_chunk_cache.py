from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipeline.config import settings
from pipeline.errors import ReadError
from pipeline.formats import open_source
from pipeline.formats.chunk_cache import CHUNKS, ChunkCache, Index, read_through
from pipeline.formats.handles import close_handles
from pipeline.formats.source import ArraySource
from pipeline.formats.zarr import ZarrSource

ARRAY = np.random.default_rng(0).integers(0, 4000, (6, 40, 50), dtype=np.uint16)


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    close_handles()
    yield
    close_handles()


def make(index: Index) -> NDArray[np.uint8]:
    return np.full(100, index[0], np.uint8)


def test_limit_bounds_what_is_kept_and_the_oldest_goes_first() -> None:
    decoded: list[Index] = []

    def decode(indices: list[Index]) -> Iterator[NDArray[np.uint8]]:
        decoded.extend(indices)
        return map(make, indices)

    cache = ChunkCache(lambda: 350)
    for number in (0, 1, 2, 0, 3, 0, 1):
        assert cache.get("a", [(number,)], decode)[0][0] == number
        assert cache.nbytes <= 350
    assert decoded == [(0,), (1,), (2,), (3,), (1,)]  # 1 was the oldest when 3 came
    cache.get("b", [(0,)], decode)
    assert decoded[-1] == (0,)  # of another owner
    cache.forget()
    assert cache.nbytes == 0


def test_chunks_are_right_though_none_fits() -> None:
    cache = ChunkCache(lambda: 0)
    found = cache.get("a", [(1,), (2,)], lambda indices: map(make, indices))
    assert [chunk[0] for chunk in found] == [1, 2]
    assert cache.nbytes == 0


def test_chunk_that_several_threads_want_is_decoded_once() -> None:
    seen: Counter[Index] = Counter()
    begun, go_on = threading.Event(), threading.Event()

    def decode(indices: list[Index]) -> Iterator[NDArray[np.uint8]]:
        for index in indices:
            seen[index] += 1
            begun.set()
            assert go_on.wait(10)
            yield make(index)

    cache = ChunkCache(lambda: 1 << 20)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(cache.get, "a", [(0,), (1,)], decode)
        assert begun.wait(10)
        others = [pool.submit(cache.get, "a", [(1,), (0,)], decode) for _ in range(7)]
        go_on.set()
        for each in (first, *others):
            assert sorted(int(chunk[0]) for chunk in each.result(10)) == [0, 1]
    assert seen == {(0,): 1, (1,): 1}


def test_failure_is_not_kept_and_those_who_wait_try_themselves() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def fail(indices: list[Index]) -> Iterator[NDArray[np.uint8]]:
        begun.set()
        assert go_on.wait(10)
        raise OSError("damaged")

    cache = ChunkCache(lambda: 1 << 20)
    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(cache.get, "a", [(0,)], fail)
        assert begun.wait(10)
        waiting = pool.submit(cache.get, "a", [(0,)], lambda indices: map(make, indices))
        go_on.set()
        with pytest.raises(OSError, match="damaged"):
            failing.result(10)
        assert waiting.result(10)[0][0] == 0
    assert cache.get("a", [(0,)], lambda indices: map(make, indices))[0][0] == 0


def test_what_is_forgotten_while_it_is_decoded_still_arrives() -> None:
    cache = ChunkCache(lambda: 1 << 20)

    def decode(indices: list[Index]) -> Iterator[NDArray[np.uint8]]:
        cache.forget()
        return map(make, indices)

    assert cache.get("a", [(5,)], decode)[0][0] == 5
    assert cache.nbytes == 0


@given(st.data())
def test_any_box_is_that_of_the_array(data: st.DataObject) -> None:
    unit = tuple(data.draw(st.integers(1, n)) for n in ARRAY.shape)
    for _ in range(5):
        ends = [sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n)))) for n in ARRAY.shape]
        box = tuple(slice(a, max(b, a + 1)) for a, b in ends)
        owner = str(unit)
        give = ARRAY.__getitem__
        found = read_through(owner, ARRAY.shape, unit, ARRAY.dtype, box, give, functools.partial(map, give))
        np.testing.assert_array_equal(found, ARRAY[box])


def _zarr(path: Path) -> Path:
    zarr.create_array(path / "v.zarr", data=ARRAY, chunks=ARRAY.shape)
    return path / "v.zarr"


def _hdf5(path: Path) -> Path:
    with h5py.File(path / "v.h5", "w") as file:
        file.create_dataset("a", data=ARRAY, chunks=ARRAY.shape, compression="gzip")
    return path / "v.h5"


def _tiff(path: Path) -> Path:
    tifffile.imwrite(path / "v.tif", ARRAY, compression="zlib", rowsperstrip=ARRAY.shape[1])
    return path / "v.tif"


def _pictures(path: Path) -> Path:
    (path / "v").mkdir()
    for number, plane in enumerate(ARRAY):
        Image.fromarray(plane).save(path / "v" / f"{number}.png")
    return path / "v"


@pytest.mark.parametrize("write", [_zarr, _hdf5, _tiff, _pictures])
def test_what_is_decoded_as_a_whole_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], Path]
) -> None:
    source = open_source(write(tmp_path))
    asked: list[tuple[slice, ...]] = []
    for kind in all_kinds(ArraySource):
        if kind.__name__ != "SliceSource" and "fetch" in vars(kind):
            monkeypatch.setattr(kind, "fetch", _counted(kind.fetch, asked))
    monkeypatch.setattr(ZarrSource, "fetch_units", _all_counted(ZarrSource.fetch_units, asked))
    for y in range(0, 40, 10):
        for x in range(0, 50, 10):
            box = (slice(0, 6), slice(y, y + 10), slice(x, x + 10))
            found = source.read((0, y, x), (6, y + 10, x + 10))
            np.testing.assert_array_equal(found, ARRAY[box])
            found[...] = 0  # what is handed out is the reader's own
    assert len(asked) in (1, 6)  # one chunk, or six pages


def all_kinds(base: type[Any]) -> list[type[Any]]:
    return [kind for below in base.__subclasses__() for kind in (below, *all_kinds(below))]


def _counted(fetch: Any, asked: list[tuple[slice, ...]]) -> Any:
    def counted(self: ArraySource, box: tuple[slice, ...]) -> Any:
        asked.append(box)
        return fetch(self, box)

    return counted


def _all_counted(fetch_units: Any, asked: list[tuple[slice, ...]]) -> Any:
    def counted(self: ArraySource, boxes: list[tuple[slice, ...]]) -> Any:
        asked.extend(boxes)
        return fetch_units(self, boxes)

    return counted


def test_box_that_needs_most_of_its_chunks_is_not_kept(tmp_path: Path) -> None:
    source = open_source(_zarr(tmp_path))
    source.read((0, 0, 0), ARRAY.shape)
    assert CHUNKS.nbytes == 0
    source.read((0, 0, 0), (1, 40, 50))
    assert CHUNKS.nbytes == ARRAY.nbytes


def test_chunk_beyond_the_limit_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXELFOREST_CHUNK_CACHE", str(ARRAY.nbytes - 1))
    settings.cache_clear()
    source = open_source(_zarr(tmp_path))
    np.testing.assert_array_equal(source.read((0, 0, 0), (1, 40, 50)), ARRAY[:1])
    assert CHUNKS.nbytes == 0
    monkeypatch.undo()
    settings.cache_clear()


def test_file_that_changed_is_refused_though_its_chunks_are_kept(tmp_path: Path) -> None:
    path = _tiff(tmp_path)
    source = open_source(path)
    source.read((0, 0, 0), (1, 10, 10))
    assert CHUNKS.nbytes
    tifffile.imwrite(path, ARRAY[:, :10], compression="zlib")
    with pytest.raises(ReadError, match="changed after it was opened"):
        source.read((0, 0, 0), (1, 10, 10))
