"""Chunks behind URLs are fetched once while a volume is open, whoever reads them, and kept within bounds."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

from pipeline.config import settings
from pipeline.formats import open_source, scratch
from pipeline.formats.chunk_cache import CHUNKS
from pipeline.formats.handles import close_handles
from pipeline.formats.source import Source
from pipeline.shelf import Shelf
from tests.pipeline.formats.servers import http_server

DATA = np.random.default_rng(0).integers(0, 60000, (32, 32, 32), np.uint16)  # nothing that could be compressed


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder for this test, and nothing in memory that would spare a request."""
    monkeypatch.setenv("VOXELFOREST_SCRATCH_DIR", str(tmp_path / "scratch"))
    monkeypatch.setenv("VOXELFOREST_CHUNK_CACHE", "0")
    monkeypatch.setattr(scratch, "SHELF", Shelf(scratch.folder, lambda: settings().scratch_cache))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(params=["plain", "sharded"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path, Counter[str]]]:
    """URL and folder of an array in 64 chunks of 8³, and what was asked for."""
    shards = (16, 16, 16) if request.param == "sharded" else None
    zarr.create_array(tmp_path / "v.zarr", data=DATA, chunks=(8, 8, 8), shards=shards)
    with http_server(tmp_path) as (url, seen):
        yield f"{url}/v.zarr", tmp_path / "v.zarr", seen


def _read(source: Source, start: int, stop: int) -> None:
    found = source.read((start,) * 3, (stop,) * 3)
    np.testing.assert_array_equal(found, DATA[(slice(start, stop),) * 3])


def _chunk_requests(seen: Counter[str]) -> int:
    return sum(n for path, n in seen.items() if "/c/" in path)


def test_a_chunk_is_fetched_once_by_all_who_read_it(served: tuple[str, Path, Counter[str]]) -> None:
    url, _, seen = served
    source = open_source(url)
    _read(source, 0, 20)
    first = _chunk_requests(seen)
    again = pickle.loads(pickle.dumps(source))  # as another worker has it
    close_handles()
    _read(again, 4, 20)
    assert _chunk_requests(seen) == first >= 8


def test_without_it_chunks_are_fetched_again(
    served: tuple[str, Path, Counter[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXELFOREST_SCRATCH_CACHE", "0")
    settings.cache_clear()
    url, _, seen = served
    source = open_source(url)
    _read(source, 0, 20)
    first = _chunk_requests(seen)
    _read(source, 0, 20)
    assert _chunk_requests(seen) == 2 * first
    assert not scratch.folder().exists()


def test_a_volume_that_is_opened_anew_is_read_anew(served: tuple[str, Path, Counter[str]]) -> None:
    url, folder, _ = served
    _read(open_source(url), 0, 20)
    zarr.open_array(folder, mode="r+")[:8, :8, :8] = 7
    CHUNKS.forget()
    np.testing.assert_array_equal(open_source(url).read((0, 0, 0), (8, 8, 8)), 7)


def test_what_was_not_kept_whole_is_fetched_again(served: tuple[str, Path, Counter[str]]) -> None:
    source = open_source(served[0])
    _read(source, 0, 20)
    kept = [path for path in scratch.folder().glob("*/*") if path.is_file()]
    for path, damage in zip(kept, ("cut", "changed", "empty") * len(kept), strict=False):
        contents = path.read_bytes()
        changed = contents[:-1] + bytes([contents[-1] ^ 1])
        path.write_bytes({"cut": contents[:-3], "changed": changed, "empty": b""}[damage])
    assert len(kept) >= 8
    _read(source, 0, 20)


def test_bytes_on_disk_are_bounded(served: tuple[str, Path, Counter[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXELFOREST_SCRATCH_CACHE", "20KiB")
    settings.cache_clear()
    _read(open_source(served[0]), 0, 32)
    kept = sum(path.stat().st_size for path in scratch.folder().glob("*/*"))
    assert 0 < kept <= 22 * 1024  # of 64


def test_folder_that_cannot_be_written_costs_nothing_but_requests(
    served: tuple[str, Path, Counter[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("VOXELFOREST_SCRATCH_DIR", str(tmp_path / "file"))
    settings.cache_clear()
    _read(open_source(served[0]), 0, 20)
