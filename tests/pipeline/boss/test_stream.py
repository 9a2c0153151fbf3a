"""Volumes larger than memory from the archive, short; `tests.archive_stream` is the same as a command, of any size."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

from tests.archive_stream import LIMIT, measure

SHORT = hypothesis.settings().max_examples < 100


@pytest.mark.skipif(SHORT, reason="minutes; the test below reads a volume as well")
@pytest.mark.timeout(3600)
def test_volume_is_read_in_little_memory(tmp_path: Path) -> None:
    found = measure(12e9, True, tmp_path)
    assert found["equal"]
    assert found["peak_bytes"] < LIMIT / 4


@pytest.mark.timeout(7200)
def test_volume_is_analysed_and_pushed_in_little_memory(tmp_path: Path) -> None:
    found = measure(2e7 if SHORT else 12e9, False, tmp_path)
    assert found["objects"] == found["tiles"]  # one object in each
    assert found["peak_bytes"] < LIMIT
