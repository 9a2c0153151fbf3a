"""Every point of the old service's checklist is ticked by a test that exists, or answered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "how-to" / "from-nomads-cloud.md"
ROWS = re.findall(r"^\| ([0-9]+) \| .* \| ([^|]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
NAMED = sorted({name for _, held in ROWS for name in re.findall(r"`([\w/]+\.py::\w+)`", held)})


def test_every_point_is_there_once_and_held_by_something() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 49))
    assert [held for _, held in ROWS if "::test_" not in held and not held.startswith("answered: ")] == []


@pytest.mark.parametrize("name", NAMED)
def test_named_test_exists(name: str) -> None:
    file, _, function = name.partition("::")
    assert f"\ndef {function}(" in (TESTS / file).read_text(encoding="utf-8")
