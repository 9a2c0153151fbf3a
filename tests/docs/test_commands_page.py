"""The page of commands is what the commands say of themselves."""

from __future__ import annotations

from pipeline.command_page import render
from tests.docs.pages import ROOT


def test_page_is_current() -> None:
    page = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert page == render(), "run: python -m pipeline.command_page > docs/reference/commands.md"
