"""Blocks on disk: fetched once, whoever asks; never a wrong one; never too many."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.boss import disk_cache
from pipeline.boss.disk_cache import PART, Block, forget_channel
from pipeline.config import settings
from pipeline.shelf import STALE_SECONDS

BLOCK = Block("c0ffee", (0, 0, 0), (4, 8, 8), "uint16")


def voxels(seed: int = 0) -> npt.NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 60000, (4, 8, 8), np.uint16)


def read(block: Block, fetch: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """A small block, which is one part."""
    (found,) = disk_cache.read(block, block.parts, fetch)
    return found


def never() -> npt.NDArray[Any]:
    raise AssertionError("fetched although it was kept")


def kept_bytes() -> int:
    return sum(path.stat().st_size for path in (settings().data_dir / "boss" / "blocks").rglob("*") if path.is_file())


@pytest.fixture(autouse=True)
def _set_up(set_up: Callable[..., None]) -> None:
    """Every test here has its own data folder."""


def test_block_is_fetched_once() -> None:
    np.testing.assert_array_equal(read(BLOCK, voxels), voxels())
    np.testing.assert_array_equal(read(BLOCK, never), voxels())


@pytest.mark.parametrize(
    "other",
    [
        Block("decaf", (0, 0, 0), (4, 8, 8), "uint16"),
        Block("c0ffee", (4, 0, 0), (8, 8, 8), "uint16"),
        Block("c0ffee", (0, 0, 0), (4, 8, 8), "uint16", "2"),
    ],
)
def test_other_channel_box_or_version_is_another_block(other: Block) -> None:
    read(BLOCK, voxels)
    np.testing.assert_array_equal(read(other, lambda: voxels(1)), voxels(1))


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "swap"])
def test_damaged_block_is_fetched_again(damage: str, caplog: pytest.LogCaptureFixture) -> None:
    read(BLOCK, voxels)
    contents = bytearray(BLOCK.path.read_bytes())
    if damage == "flip":
        contents[-3] ^= 1
    elif damage == "swap":  # whole, but of another place
        other = Block("c0ffee", (4, 0, 0), (8, 8, 8), "uint16")
        read(other, lambda: voxels(1))
        contents = bytearray(other.path.read_bytes())
    BLOCK.path.write_bytes({"cut": bytes(contents[:-5]), "empty": b""}.get(damage, bytes(contents)))
    fetched = []
    np.testing.assert_array_equal(read(BLOCK, lambda: fetched.append(1) or voxels()), voxels())  # type: ignore[func-returns-value]
    assert fetched == [1]
    assert "damaged" in caplog.text
    np.testing.assert_array_equal(read(BLOCK, never), voxels())


def test_parts_of_a_block_are_read_alone() -> None:
    start, stop = (5, 100, 0), (70, 300, 150)
    block = Block("c0ffee", start, stop, "uint8")
    whole = np.random.default_rng(1).integers(0, 255, np.subtract(stop, start), np.uint8)
    disk_cache.read(block, block.parts[:1], lambda: whole)
    assert len(block.parts) == 3 * 3 * 2
    for number, (low, high) in enumerate(block.parts):
        assert all(b - a <= n for a, b, n in zip(low, high, PART, strict=True))
        (found,) = disk_cache.read(block, [(low, high)], never)
        inside = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, start, strict=True))
        np.testing.assert_array_equal(found, whole[inside], err_msg=str(number))
    contents = bytearray(block.path.read_bytes())
    contents[-1] ^= 1  # of the last part
    block.path.write_bytes(contents)
    disk_cache.read(block, block.parts[:-1], never)
    (found,) = disk_cache.read(block, block.parts[-1:], lambda: whole)
    np.testing.assert_array_equal(found, whole[inside])
    disk_cache.read(block, block.parts, never)


def test_failed_fetch_keeps_nothing() -> None:
    with pytest.raises(AssertionError):
        read(BLOCK, never)
    np.testing.assert_array_equal(read(BLOCK, voxels), voxels())


def test_threads_fetch_once() -> None:
    fetched = []

    def fetch() -> npt.NDArray[Any]:
        fetched.append(1)
        time.sleep(0.05)
        return voxels()

    with ThreadPoolExecutor(8) as pool:
        assert all(np.array_equal(found, voxels()) for found in pool.map(lambda _: read(BLOCK, fetch), range(8)))
    assert fetched == [1]


def _fetch_and_count(folder: Path, number: int) -> None:
    def fetch() -> npt.NDArray[Any]:
        (folder / f"fetched-{number}-{os.getpid()}").touch()
        time.sleep(0.02)
        return voxels(number)

    block = Block("c0ffee", (4 * number, 0, 0), (4 * number + 4, 8, 8), "uint16")
    np.testing.assert_array_equal(read(block, fetch), voxels(number))


def test_processes_fetch_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(4, mp_context=context) as pool:
        tasks = [pool.submit(_fetch_and_count, tmp_path, number) for number in range(6) for _ in range(4)]
        for task in tasks:
            task.result()
    assert len(list(tmp_path.glob("fetched-*"))) == 6


def test_bytes_are_bounded_and_the_oldest_go(set_up: Callable[..., None]) -> None:
    set_up(BOSS_CACHE_BYTES=8000)  # of 551 each
    blocks = [Block("c0ffee", (4 * n, 0, 0), (4 * n + 4, 8, 8), "uint16") for n in range(40)]
    for number, block in enumerate(blocks):
        read(block, lambda number=number: voxels(number))  # type: ignore[misc]
        os.utime(block.path, ns=(number, number))
        assert kept_bytes() <= 8000 + 600
    assert not blocks[0].path.exists()
    np.testing.assert_array_equal(read(blocks[-1], never), voxels(39))


def test_block_that_is_used_stays(set_up: Callable[..., None]) -> None:
    read(BLOCK, voxels)
    os.utime(BLOCK.path, ns=(1, 1))
    read(BLOCK, never)
    assert time.time() - BLOCK.path.stat().st_mtime < 60


def test_nothing_is_kept_if_nothing_may_be(set_up: Callable[..., None]) -> None:
    set_up(BOSS_CACHE_BYTES=0)
    read(BLOCK, voxels)
    assert not settings().data_dir.exists()


def test_what_died_while_writing_is_swept(set_up: Callable[..., None]) -> None:
    read(BLOCK, voxels)
    left, fresh = (BLOCK.path.with_name(f"{name}.partial") for name in ("left", "fresh"))
    for path in (left, fresh):
        path.write_bytes(b"x")
    os.utime(left, (time.time() - 2 * STALE_SECONDS,) * 2)
    disk_cache.make_ledger().count(0)
    assert not left.exists()
    assert fresh.exists()


def test_written_channel_is_forgotten() -> None:
    read(BLOCK, voxels)
    forget_channel(BLOCK.channel)
    forget_channel(BLOCK.channel)
    np.testing.assert_array_equal(read(BLOCK, lambda: voxels(1)), voxels(1))


def test_folder_that_cannot_be_written_costs_the_keeping_alone(
    set_up: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    set_up(DATA_DIR=tmp_path / "file")
    np.testing.assert_array_equal(read(BLOCK, voxels), voxels())
    assert "cannot be kept" in caplog.text


def test_failing_fetch_lets_others_go_on() -> None:
    entered = threading.Event()

    def fail() -> npt.NDArray[Any]:
        entered.set()
        raise OSError("gone")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(read, BLOCK, fail)
        entered.wait()
        np.testing.assert_array_equal(pool.submit(read, BLOCK, voxels).result(), voxels())
        with pytest.raises(OSError, match="gone"):
            first.result()
