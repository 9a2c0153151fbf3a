"""What the fuzzing command takes for a finding."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from pipeline.errors import VolumeError
from tests.fuzz import feeding
from tests.fuzz.__main__ import READERS
from tests.fuzz.reader import Reader, reading


def _fall(one: int) -> None:
    """Each number ends in another way."""
    if one == 1:
        raise VolumeError("1 is refused")
    if one == 2:
        raise KeyError("2 is no refusal")
    if one == 3:
        os._exit(9)
    while one == 4:
        time.sleep(0.01)


def test_crashes_hangs_and_other_errors_are_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "MOST_PATIENCE", 1.0)
    for one, outcome, said in (
        (0, (1, 0, 0), ""),
        (1, (0, 1, 0), ""),
        (2, (0, 0, 1), "KeyError: '2 is no refusal'"),
        (3, (0, 0, 1), "ended with 9"),
        (4, (0, 0, 1), "no end after"),
    ):
        tally = feeding.feed(Reader("numbers", st.just(one), reading(_fall)), 1, 0)
        assert (tally.well, tally.refused, len(tally.findings)) == outcome
        assert said in "".join(tally.findings)


def test_a_refusal_of_two_lines_is_a_finding(tmp_path: Path) -> None:
    def refuse(one: Any) -> None:
        raise ValueError("one\ntwo")

    tally = feeding.feed(Reader("lines", st.none(), reading(refuse, ValueError)), 1, 0)
    assert "refused in more than a line" in tally.findings[0]


def test_names_of_readers_differ() -> None:
    assert len({reader.name for reader in READERS}) == len(READERS)
