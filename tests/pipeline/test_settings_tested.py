"""Each row of the settings table is used by some test, so that a limit that limits nothing is noticed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.config import Settings

TESTS = Path(__file__).parents[1]
ABOUT_THE_TABLE = {"test_config.py", "test_every_command.py"}
TEXT = "\n".join(path.read_text("utf-8") for path in TESTS.rglob("*.py") if path.name not in ABOUT_THE_TABLE)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_setting_is_used_by_a_test(name: str) -> None:
    """As a variable, with or without its prefix, or as an attribute or argument."""
    # Words that mean other things, too, count with the prefix alone.
    prefix = "VOXELFOREST_" if name in ("token", "debug") else "(VOXELFOREST_)?"
    found = re.search(rf"\b({prefix}{name.upper()}|{name if prefix.endswith('?') else 'settings.' + name})\b", TEXT)
    assert found is not None, f"no test sets VOXELFOREST_{name.upper()}, or looks at what it does"
