"""An archive of our own over sockets, with a small experiment, and settings that lead there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.boss import disk_cache
from pipeline.config import settings
from pipeline.formats.handles import close_handles
from tests.archive_contents import Archive
from tests.archive_server import serving

FRAME = ((2, 10, 20), (18, 46, 60))  # first voxel, and the one behind the last


@pytest.fixture
def archive(set_up: Callable[..., None]) -> Iterator[Archive]:
    """``col/exp``: two channels of uint8, one of uint16, labels of uint64; ``out/results``: no channels yet."""
    made = Archive()
    start, stop = FRAME
    made.add("col/exp", stop, start)
    rng = np.random.default_rng(5)
    shape = tuple(b - a for a, b in zip(start, stop, strict=True))
    for name, dtype, kind in (
        ("PSD95", "uint8", "image"),
        ("Synapsin", "uint8", "image"),
        ("DAPI", "uint16", "image"),
        ("labels", "uint64", "annotation"),
    ):
        top = min(int(np.iinfo(dtype).max), 1 << 62)
        made.add_channel(f"col/exp/{name}", rng.integers(0, top, shape, dtype), kind=kind)
    made.add("out/results", (40, 80, 120))
    with serving(made):
        set_up(BOSS_URL=made.url, BOSS_TOKEN="writer")
        yield made


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Sets variables without their prefix; blocks are small, and what outlives a run is the test's own."""

    def change(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"VOXELFOREST_{name}", str(value))
        settings.cache_clear()

    monkeypatch.setattr("pipeline.formats.retry.FIRST_PAUSE", 0.001)
    monkeypatch.setattr(disk_cache, "LEDGER", disk_cache.make_ledger())
    change(DATA_DIR=tmp_path / "data", BOSS_BLOCK_BYTES=16 * 16 * 16, BOSS_RETRIES=2)
    yield change
    close_handles()
    monkeypatch.undo()
    settings.cache_clear()
