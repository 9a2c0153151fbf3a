from __future__ import annotations

import functools
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from pipeline.config import settings
from pipeline.errors import VolumeError
from pipeline.formats import source
from pipeline.formats.handles import HANDLES, HandleCache, close_handles
from pipeline.formats.source import check_sizes, native_dtype, one_line, slab_chunks


def test_setting_says_how_many_files_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXELFOREST_HANDLE_CACHE", "2")
    settings.cache_clear()
    opened: list[str] = []

    def open_it(name: str) -> str:
        opened.append(name)
        return name

    for name in ("a", "b", "a", "c", "b"):
        HANDLES.get(f"{monkeypatch}{name}", functools.partial(open_it, name))
    assert opened == ["a", "b", "c", "b"]
    close_handles()
    monkeypatch.undo()
    settings.cache_clear()


def test_handle_is_opened_once_and_the_oldest_dropped() -> None:
    cache = HandleCache(lambda: 2)
    opened: list[str] = []

    def opener(name: str) -> Any:
        def open_it() -> str:
            opened.append(name)
            return name

        return open_it

    for name in "abacab":
        assert cache.get(name, opener(name)) == name
    assert opened == ["a", "b", "c", "b"]
    assert len(cache) == 2


def test_threads_that_want_one_file_open_it_once() -> None:
    cache = HandleCache(lambda: 2)
    entered, go = threading.Event(), threading.Event()
    opened: list[int] = []

    def opener() -> str:
        entered.set()
        assert go.wait(10)
        opened.append(1)
        return "handle"

    threads = [threading.Thread(target=cache.get, args=("a", opener)) for _ in range(4)]
    threads[0].start()
    assert entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    assert cache.get("b", lambda: "other") == "other"  # not held up by the slow one
    go.set()
    for thread in threads:
        thread.join()
    assert opened == [1]


def test_error_of_an_opener_is_not_kept() -> None:
    cache = HandleCache(lambda: 2)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 // 0)
    assert cache.get("a", lambda: "now") == "now"


FORKED = """
import os
from pipeline.formats.handles import HandleCache
cache = HandleCache(lambda: 2)
cache.get("a", lambda: "parent's")
child = os.fork()
os.write(1, (cache.get("a", lambda: "child's") + "\\n").encode())
if child:
    os.waitpid(child, 0)
"""


def test_child_of_fork_opens_its_own_handle() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == ["child's", "parent's"]


@pytest.mark.parametrize("dtype", ["c8", "U3", "S3", "O", "M8[s]", "V4", "g"])
def test_types_that_are_no_plain_numbers_are_refused(dtype: str) -> None:
    with pytest.raises(VolumeError, match="allowed are bool, integers and real floats"):
        native_dtype(np.dtype(dtype), "v")


def test_chunk_too_large_to_decode_is_refused_with_both_sizes() -> None:
    with pytest.raises(VolumeError, match=r"8,000,000,000,000 bytes each; allowed are 4,294,967,296"):
        check_sizes("v", (10**4,) * 3, (10**4,) * 3, np.dtype("u8"))


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [((10, 10), (10, 10)), ((10**6, 4096), (4096, 4096)), ((2, 10**9), (1, 1 << 24)), ((0, 5), (1, 5))],
)
def test_slabs_are_whole_trailing_axes(shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    assert slab_chunks(shape, 1) == chunks


def test_search_for_the_damaged_chunk_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []

    class Broken(source.ArraySource):
        def fetch(self, box: tuple[slice, ...]) -> Any:
            tried.append(box)
            if len(tried) == 1:
                raise OSError("no answer\nfrom disk")
            return np.zeros([s.stop - s.start for s in box], "u1")

    monkeypatch.setattr(source, "CHUNKS_PROBED", 3)
    broken = Broken(url="v", shape=(9, 9), dtype=np.dtype("u1"), chunks=(1, 1), fingerprint="")
    with pytest.raises(VolumeError, match=r"v: \[0:9, 0:9\] cannot be read: no answer from disk"):
        broken.read((0, 0), (9, 9))
    assert len(tried) == 4


def test_error_without_text_gives_its_class() -> None:
    assert one_line(KeyError()) == "KeyError"
