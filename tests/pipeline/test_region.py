from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.blocks import Box
from pipeline.errors import PlanError
from pipeline.region import parse_region

WHOLE = Box.whole((3, 20, 30, 40))


@given(
    st.permutations("tzyx"),
    st.integers(0, 4),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.tuples(*[st.integers(1, 3)] * 4),
)
def test_region_is_what_its_parts_say(
    order: list[str], parts: int, start: tuple[int, ...], length: tuple[int, ...]
) -> None:
    stop = [min(a + n, m) for a, n, m in zip(start, length, WHOLE.shape, strict=True)]
    ends = {axis: (a, b) for axis, a, b in zip("tzyx", start, stop, strict=True) if axis in order[:parts]}
    text = ",".join(f"{axis}={ends[axis][0]}:{ends[axis][1]}" for axis in order[:parts])
    if not parts:
        return
    box = parse_region(text, WHOLE, "tczyx")
    for i, axis in enumerate("tzyx"):
        assert (box.start[i], box.stop[i]) == ends.get(axis, (0, WHOLE.stop[i]))


def test_spaces_are_allowed() -> None:
    assert parse_region("z = 1:2, x = 0:4", WHOLE, "zyx") == Box((0, 1, 0, 0), (3, 2, 30, 4))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write it as"),
        ("z", "write it as"),
        ("z=1", "write it as"),
        ("z=1:2:1", "write it as"),
        ("z=-1:2", "write it as"),  # counts from the start only
        ("z=:2", "write it as"),
        ("z=1:2,", "write it as"),
        ("c=0:1", "write it as"),  # channels are never cut
        ("z=1e1:20", "write it as"),
        ("z=٣:٤", "write it as"),  # digits of other scripts
        ("z=0:9999999999999999999999", "write it as"),
        ("z=1:2,z=3:4", "given twice"),
        ("t=0:1", "not one of the volume's axes zyx"),
        ("z=5:5", "whose z is 0:20"),
        ("z=6:5", "whose z is 0:20"),
        ("z=0:21", "whose z is 0:20"),
    ],
)
def test_anything_else_is_refused(text: str, said: str) -> None:
    with pytest.raises(PlanError, match=said) as caught:
        parse_region(text, WHOLE, "zyx")
    assert caught.value.code == "region"
