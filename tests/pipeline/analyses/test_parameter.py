"""Parameters as people, forms and programs give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.analyses.parameter import Parameter

COUNT = Parameter("min_size", int, 31, "Voxels.", minimum=1, maximum=99)
SHARE = Parameter("share", float, 0.5, "Share.", minimum=0, maximum=1)
FLAG = Parameter("legacy", bool, False, "As it was.")
WORD = Parameter("measure", str, "all", "Which.", choices=("all", "needed"))
FILE = Parameter("model", Path, None, "A model.", required=True)


@pytest.mark.parametrize(
    ("parameter", "given", "wanted"),
    [
        (COUNT, " 40 ", 40),
        (COUNT, 40.0, 40),
        (COUNT, None, 31),
        (SHARE, "1e-2", 0.01),
        (SHARE, 1, 1.0),
        (FLAG, "Yes", True),
        (FLAG, "0", False),
        (FLAG, True, True),
        (WORD, "needed", "needed"),
        (FILE, "a/b.npz", Path("a/b.npz")),
    ],
)
def test_values_are_read(parameter: Parameter, given: Any, wanted: Any) -> None:
    found = parameter.convert(given)
    assert found == wanted
    assert isinstance(found, parameter.kind)


@pytest.mark.parametrize(
    ("parameter", "given", "said"),
    [
        (COUNT, "0", "allowed is a whole number from 1 to 99"),
        (COUNT, "100", "from 1 to 99"),
        (COUNT, "4_0", "a whole number"),
        (COUNT, "٤", "a whole number"),
        (COUNT, "4.5", "a whole number"),
        (COUNT, 4.5, "a whole number"),
        (COUNT, True, "a whole number"),
        (COUNT, [4], "a whole number"),
        (SHARE, "nan", "a number from 0 to 1"),
        (SHARE, "inf", "a number"),
        (SHARE, True, "a number"),
        (FLAG, "maybe", "true or false"),
        (FLAG, 2, "true or false"),
        (WORD, "need", "allowed is all or needed; did you mean needed?"),
        (WORD, 3, "all or needed"),
        (FILE, "", "a path"),
        (FILE, "a\0b", "a path"),
        (FILE, None, "nothing was given; needed is a path: A model."),
    ],
)
def test_others_are_refused_saying_what_is_allowed(parameter: Parameter, given: Any, said: str) -> None:
    with pytest.raises(ValueError, match="given") as caught:
        parameter.convert(given)
    assert said in str(caught.value)


def test_option() -> None:
    assert COUNT.option == "--min-size"
