"""How the command line prints: tables for people, JSON for programs, progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.description import Section


def show(sections: Iterable[Section], document: dict[str, Any], as_json: bool) -> None:
    """Print tables, or the same as JSON, on stdout."""
    if as_json:
        print(json.dumps(document, indent=2))
        return
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    for section in sections:
        console.print(_table(section))


def _table(section: Section) -> Table:
    table = Table(title=_plain(section.title), title_justify="left", show_header=bool(section.columns))
    for number in range(max(map(len, section.rows), default=len(section.columns))):
        heading = section.columns[number] if section.columns else ""
        table.add_column(_plain(heading), overflow="fold", style="bold" if number == 0 else "")
    for row in section.rows:
        table.add_row(*map(_plain, row))
    return table


def _plain(text: str) -> str:
    """Text from a file, without markup and control characters that a terminal would obey."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))
