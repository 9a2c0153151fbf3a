"""An archive over sockets, the plug-in analysis, and settings that lead to both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import analyses
from pipeline.boss import disk_cache
from pipeline.config import settings
from pipeline.formats.handles import close_handles
from pipeline.jobs.store import JobStore
from tests.archive_contents import Archive
from tests.archive_server import serving
from tests.job_service import PLUGIN, environment, make_archive

SetUp = Callable[..., None]


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SetUp]:
    """Sets variables without their prefix; what outlives a run is the test's own."""

    def change(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"VOXELFOREST_{name}", str(value))
        settings.cache_clear()

    change(DATA_DIR=tmp_path / "data")
    yield change
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def store(set_up: SetUp) -> JobStore:
    """Jobs of the test alone."""
    return JobStore()


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plug-in analysis is installed."""
    monkeypatch.syspath_prepend(PLUGIN)
    analyses._entries.cache_clear()
    yield
    monkeypatch.undo()
    analyses._entries.cache_clear()


@pytest.fixture
def archive(set_up: SetUp, plugin: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """The archive of `tests.job_service`, which the settings name."""
    monkeypatch.setattr("pipeline.formats.retry.FIRST_PAUSE", 0.001)
    monkeypatch.setattr(disk_cache, "LEDGER", disk_cache.make_ledger())
    with serving(make_archive()) as made:
        for name, value in environment(tmp_path, made).items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        yield made
    close_handles()
