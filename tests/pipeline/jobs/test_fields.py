"""Ranges of the form: two whole numbers, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.jobs.fields import LARGEST, parse_range

BLANKS = st.text(" ", max_size=3)


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.tuples(BLANKS, BLANKS, BLANKS, BLANKS))
def test_blanks_do_not_count(start: int, length: int, blanks: tuple[str, str, str, str]) -> None:
    a, b, c, d = blanks
    assert parse_range(f"{a}{start}{b},{c}{start + length}{d}") == (start, start + length)


@pytest.mark.parametrize(
    "text",
    ["", "7", "5,10,20", "5;10", "5, ten", "1.0,2", "1e1,20", "+1,2", "1 0,20", "0x1,2", "1_0,20", "٣,٥", "5,", ",5",
     "5,10\n", "\t5,10", "5,10 # x", "--1,2", "5,,10", "5,10,"],
)  # fmt: skip
def test_anything_else_is_refused_with_what_is_wanted(text: str) -> None:
    with pytest.raises(ValueError, match='is not "start, stop": two whole numbers'):
        parse_range(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-5,10", "below 0"),
        ("10,10", "larger than the start"),
        ("20,10", "larger than the start"),
        (f"0,{LARGEST + 1}", "no volume is that large"),
        ("0," + "9" * 4000, "no volume is that large"),
    ],
)
def test_empty_reversed_and_negative_ranges_are_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_range(text)


@given(st.text(max_size=200))
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    said = ""
    try:
        start, stop = parse_range(text)
    except ValueError as error:
        said = str(error)
    else:
        assert 0 <= start < stop <= LARGEST
    assert said.isprintable()
    assert len(said) < 250
