"""Fenced code blocks of the README and the docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if page.exists()]

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class CodeBlock:
    """One fenced block; `reason` says why it is not run, where a comment above it does."""

    language: str
    text: str
    reason: str | None
    line: int

    def commands(self) -> Iterator[str]:
        """What a person types in a ``console`` block: lines after ``$ ``, those ending in a backslash continued."""
        for match in re.finditer(r"^\$ (?P<command>(?:.*\\\n)*.*)$", self.text, re.MULTILINE):
            yield match["command"]


def code_blocks(text: str) -> list[CodeBlock]:
    """The fenced blocks of a Markdown page that name a language, in order."""
    return [
        CodeBlock(match["language"], match["text"], match["reason"], text.count("\n", 0, match.start("text")))
        for match in _BLOCK.finditer(text)
    ]
