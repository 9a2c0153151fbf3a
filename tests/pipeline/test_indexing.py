from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.indexing import AxisIndex, full_key

LENGTH = 9
BOUND = st.none() | st.integers(-12, 12)
SLICES = st.builds(slice, BOUND, BOUND, st.none() | st.integers(-4, 4).filter(bool))


@given(key=SLICES | st.integers(-LENGTH, LENGTH - 1) | st.lists(st.integers(-LENGTH, LENGTH - 1), min_size=1))
def test_range_read_and_index_inside_give_what_numpy_gives(key: Any) -> None:
    line = np.arange(LENGTH)
    part = AxisIndex.of(key, LENGTH)
    np.testing.assert_array_equal(line[part.start : part.stop][part.inside], line[key])


@given(key=SLICES)
def test_slice_reads_no_further_than_its_ends(key: slice) -> None:
    part = AxisIndex.of(key, LENGTH)
    chosen = np.arange(LENGTH)[key]
    assert (part.stop - part.start) == (np.ptp(chosen) + 1 if chosen.size else 0)


@pytest.mark.parametrize("key", [LENGTH, -LENGTH - 1])
def test_integer_outside_is_an_index_error(key: int) -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        AxisIndex.of(key, LENGTH)


@pytest.mark.parametrize("key", ["a", 1.5, None])
def test_other_keys_are_a_type_error(key: Any) -> None:
    with pytest.raises(TypeError):
        AxisIndex.of(key, LENGTH)


@pytest.mark.parametrize(
    ("key", "full"),
    [
        (3, [3, slice(None), slice(None)]),
        ((..., 3), [slice(None), slice(None), 3]),
        ((1, ..., 3), [1, slice(None), 3]),
        ((1, 2, 3, ...), [1, 2, 3]),
        ((), [slice(None)] * 3),
    ],
)
def test_key_is_filled_up(key: Any, full: list[Any]) -> None:
    assert full_key(key, 3) == full


def test_too_many_indices_are_an_index_error() -> None:
    with pytest.raises(IndexError, match="4 indices for 3 axes"):
        full_key((1, 2, 3, 4), 3)
