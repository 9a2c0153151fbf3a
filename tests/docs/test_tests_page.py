"""The page about the tests is what was found."""

from __future__ import annotations

from tests.docs.pages import ROOT
from tests.evidence.__main__ import key_of, read_found, write_page


def test_page_is_current() -> None:
    page = (ROOT / "docs" / "explanation" / "tests.md").read_text(encoding="utf-8")
    assert page == write_page(*read_found()), "run: python -m tests.evidence > docs/explanation/tests.md"


def test_reasons_are_of_mutants_that_survived() -> None:
    mutants, reasons, _, _ = read_found()
    assert reasons.keys() <= {key_of(mutant) for mutant in mutants if mutant["outcome"] == "survived"}
