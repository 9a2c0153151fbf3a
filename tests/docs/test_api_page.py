"""The page of the API is what the app says of itself."""

from __future__ import annotations

from tests.docs.pages import ROOT
from web.api_reference import render


def test_page_is_current() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    assert page == render(), "run: python -m web.api_reference > docs/reference/api.md"
