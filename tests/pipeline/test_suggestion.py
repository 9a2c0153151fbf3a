"""Guesses at what was meant."""

from __future__ import annotations

import pytest

from pipeline.suggestion import did_you_mean

OUTPUTS = ("probabilities", "segmentation", "uncertainty", "features")


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("segmentaton", "; did you mean segmentation?"),
        ("feature", "; did you mean features?"),
        ("probs", ""),
        ("", ""),
    ],
)
def test_only_what_is_near_is_suggested(word: str, text: str) -> None:
    assert did_you_mean(word, OUTPUTS) == text
