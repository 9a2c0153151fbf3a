"""How a number of workers is written."""

from __future__ import annotations

import pytest

from pipeline.clusters.workers import Workers, as_workers, parse_workers
from pipeline.errors import PlanError


@pytest.mark.parametrize(
    ("text", "workers"), [(None, None), ("4", Workers(4, 4)), ("0..20", Workers(0, 20)), (" 3..3 ", Workers(3, 3))]
)
def test_numbers_and_bounds(text: str | None, workers: Workers | None) -> None:
    assert parse_workers(text) == workers


@pytest.mark.parametrize("text", ["", "0", "0..0", "3..2", "-1", "1.5", "2...3", "many", "1_0", "٣", "9999999"])
def test_anything_else_is_one_sentence(text: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_workers(text)
    assert caught.value.code == "workers"


def test_what_was_not_said_is_the_default() -> None:
    assert as_workers(None, 3) == Workers(3, 3)
    assert as_workers(2, 3) == Workers(2, 2)
    assert str(Workers(0, 20)) == "0..20"
    assert str(Workers(2, 2)) == "2"
