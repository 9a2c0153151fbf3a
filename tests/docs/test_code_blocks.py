"""What the README and the docs print for a reader to type runs as printed.

The blocks of a page run in order in one empty folder, ``python`` ones in one namespace. A block that cannot run says
why in a comment on the line above it, ``<!-- not run: the reason -->``, and is listed as skipped with that reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import PAGES, ROOT, CodeBlock, code_blocks

RUNNABLE = {"python", "console"}
NOT_RUN = [(page, block) for page in PAGES for block in code_blocks(page.read_text("utf-8")) if block.reason]


def _name(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else f"line {getattr(value, 'line', value)}"


def _run(block: CodeBlock, page: Path, namespace: dict[str, Any]) -> None:
    if block.language == "python":
        exec(compile("\n" * block.line + block.text, str(page), "exec"), namespace)
        return
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in block.commands():
        done = subprocess.run(
            ["bash", "-c", command], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_blocks_of_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in code_blocks(page.read_text("utf-8")):
        if block.language in RUNNABLE and not block.reason:
            _run(block, page, namespace)


@pytest.mark.parametrize(("page", "block"), NOT_RUN, ids=_name)
def test_block_that_cannot_run(page: Path, block: CodeBlock) -> None:
    pytest.skip(f"{_name(page)} {_name(block)}: {block.reason}")


def test_blocks_are_found_with_reason_and_commands() -> None:
    text = "a\n```python\nx = 1\n```\n<!-- not run: needs a cluster -->\n```console\n$ up \\\n  now\nok\n$ down\n```\n"
    first, second = code_blocks(text)
    assert (first.language, first.text, first.reason, first.line) == ("python", "x = 1\n", None, 2)
    assert (second.reason, list(second.commands())) == ("needs a cluster", ["up \\\n  now", "down"])
