"""The examples in docstrings give what they print."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITH_EXAMPLES = [
    source
    for top in ("numba_ops", "pipeline", "web")
    for source in sorted((ROOT / top).rglob("*.py"))
    if ">>> " in source.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("source", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_of_module(source: Path) -> None:
    name = ".".join(source.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    assert doctest.testmod(importlib.import_module(name)).failed == 0
