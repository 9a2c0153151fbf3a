"""What somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """The end of a refusal: the nearest allowed word as a question, or nothing where none is near.

    Examples
    --------
    >>> did_you_mean("probability", ["probabilities", "segmentation"])
    '; did you mean probabilities?'
    >>> did_you_mean("labels", ["probabilities", "segmentation"])
    ''
    """
    near = difflib.get_close_matches(word, list(allowed), n=1)
    return f"; did you mean {near[0]}?" if near else ""
