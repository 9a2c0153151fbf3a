"""docs/explanation/durability.md is what its command writes from the results that are there."""

from __future__ import annotations

from tests.chaos.report import PAGE, TEXT, read_results, write_page


def test_page_is_what_the_command_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == write_page(read_results(), TEXT.read_text(encoding="utf-8"))
