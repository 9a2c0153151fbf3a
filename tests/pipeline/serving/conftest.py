"""What tests of serving share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pipeline.config import settings
from tests.commands import SMALL_BLOCKS

Limit = Callable[[str, object], None]


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Limit]:
    """Set a setting; chunks are of 16 x 16 x 16 voxels to begin with."""

    def change(name: str, value: object) -> None:
        monkeypatch.setenv(f"VOXELFOREST_{name.upper()}", str(value))
        settings.cache_clear()

    for name, value in SMALL_BLOCKS.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield change
    settings.cache_clear()
