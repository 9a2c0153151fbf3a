"""What tests of the pipeline share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.config import settings
from tests.commands import SMALL_BLOCKS


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks and chunks of 16 x 16 x 16 voxels, so that small volumes make many."""
    for name, value in SMALL_BLOCKS.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield
    settings.cache_clear()
