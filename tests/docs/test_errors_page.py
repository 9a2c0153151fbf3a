"""The page of errors has each class, with the exit code and the status that it really leads to."""

from __future__ import annotations

import inspect
import re

import pytest

from pipeline import errors
from tests.docs.pages import ROOT
from web.errors import status_of

PAGE = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
ROWS = {name: (int(code), int(status)) for name, code, status in re.findall(r"\| `(\w+)` \| (\d+) \| (\d+) \| .", PAGE)}
CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, errors.PipelineError)
}


def test_page_has_every_class_and_no_other() -> None:
    assert set(ROWS) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_exit_code_and_status_are_the_real_ones(name: str) -> None:
    kind = CLASSES[name]
    error = kind.__new__(kind)
    assert ROWS[name] == (kind.exit_code, status_of(error))
