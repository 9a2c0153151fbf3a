"""What a shell offers after the tabulator key, asked as the shells ask."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.commands import COMMAND


@pytest.mark.parametrize(("line", "word", "offered"), [("pre", 1, "predict"), ("predict --outp", 2, "--output")])
def test_shells_complete_commands_and_options(line: str, word: int, offered: str) -> None:
    asked = {"_VOXELFOREST_COMPLETE": "complete_bash", "COMP_WORDS": f"voxelforest {line}", "COMP_CWORD": str(word)}
    done = subprocess.run([COMMAND], env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert offered in done.stdout.split()
