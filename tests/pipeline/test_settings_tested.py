"""Each row of the settings table is used by some test, so that a limit that limits nothing is noticed."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.config import Settings

TESTS = Path(__file__).parents[1]
ABOUT_THE_TABLE = {"test_config.py", "test_every_command.py", Path(__file__).name}
MEAN_OTHER_THINGS = {"token", "debug"}  # these words count with the prefix alone


def test_every_setting_is_used_by_a_test() -> None:
    """As a variable, with or without its prefix, or as an attribute or argument."""
    texts = (path.read_text("utf-8") for path in TESTS.rglob("*.py") if path.name not in ABOUT_THE_TABLE)
    words = {word for text in texts for word in re.findall(r"\w+", text)}
    unused = []
    for name in Settings.model_fields:
        forms = {f"VOXELFOREST_{name.upper()}", *({name, name.upper()} if name not in MEAN_OTHER_THINGS else ())}
        if not forms & words:
            unused.append(name)
    assert unused == [], "no test sets these, or looks at what they do"
