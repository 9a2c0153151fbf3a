"""How the command line prints: tables for people, JSON for programs, one line for an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.description import Section
from pipeline.errors import one_line, printable


def show(sections: Iterable[Section], document: dict[str, Any], as_json: bool) -> None:
    """Print tables, or the same as JSON, on stdout."""
    if as_json:
        print(json.dumps(document, indent=2))
        return
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    for section in sections:
        console.print(_table(section))


def show_error(message: str, exit_code: int, as_json: bool, code: str | None = None) -> int:
    """Print why a command failed as one line on stderr; returns the exit code."""
    text = one_line(message)
    if as_json:
        document = {"event": "Error", "message": text, "code": code, "exit_code": exit_code}
        print(json.dumps(document), file=sys.stderr, flush=True)
    else:
        print(f"voxelforest: {text}" + (f" [{code}]" if code else ""), file=sys.stderr, flush=True)
    return exit_code


def show_note(text: str, as_json: bool) -> None:
    """Print a sentence that is no result on stderr."""
    line = json.dumps({"event": "Note", "text": text}) if as_json else one_line(text)
    print(line, file=sys.stderr, flush=True)


def _table(section: Section) -> Table:
    table = Table(title=_plain(section.title), title_justify="left", show_header=bool(section.columns))
    for number in range(max(map(len, section.rows), default=len(section.columns))):
        heading = section.columns[number] if section.columns else ""
        table.add_column(_plain(heading), overflow="fold", style="bold" if number == 0 else "")
    for row in section.rows:
        table.add_row(*map(_plain, row))
    return table


def _plain(text: str) -> str:
    """Text that rich prints as it is."""
    return escape(printable(text))
