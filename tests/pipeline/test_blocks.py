from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.blocks import Box, grid, grid_shape

LENGTHS = st.tuples(*[st.integers(1, 9)] * 4)
PLACES = st.tuples(*[st.integers(0, 9)] * 4)


@given(start=PLACES, shape=LENGTHS, block=LENGTHS)
def test_grid_covers_every_voxel_once(start: tuple[int, ...], shape: tuple[int, ...], block: tuple[int, ...]) -> None:
    region = Box.whole(shape).shift(start)
    counts = np.zeros(region.stop, int)
    boxes = list(grid(region, block))
    for box in boxes:
        assert region.contains(box)
        assert all(1 <= n <= b for n, b in zip(box.shape, block, strict=True))
        counts[box.slices()] += 1
    assert (counts[region.slices()] == 1).all()
    assert counts.sum() == region.size
    assert len(boxes) == math.prod(grid_shape(region, block))
    assert boxes == sorted(boxes)


@given(start=PLACES, shape=LENGTHS, halo=st.tuples(*[st.integers(0, 12)] * 3))
def test_grown_box_is_the_halo_clipped_at_the_image(
    start: tuple[int, ...], shape: tuple[int, ...], halo: tuple[int, int, int]
) -> None:
    image, box = Box.whole((20, 20, 20, 20)), Box.whole(shape).shift(start)
    grown = box.grow(halo, image)
    assert (grown.start[0], grown.stop[0]) == (box.start[0], box.stop[0])  # time points know nothing of each other
    for axis, h in enumerate(halo, start=1):
        assert grown.start[axis] == max(0, box.start[axis] - h)
        assert grown.stop[axis] == min(20, box.stop[axis] + h)
    assert image.contains(grown)
    assert grown.contains(box)


@given(start=PLACES, shape=LENGTHS, by=PLACES)
def test_shifted_box_indexes_like_the_origin_it_was_shifted_by(
    start: tuple[int, ...], shape: tuple[int, ...], by: tuple[int, ...]
) -> None:
    box = Box.whole(shape).shift(start)
    assert box.shift(by).slices(by) == box.slices()
    assert box.shift(by).shape == box.shape


def test_box_is_written_as_a_region() -> None:
    assert str(Box((0, 1, 2, 3), (1, 5, 6, 7))) == "t=0:1,z=1:5,y=2:6,x=3:7"


@pytest.mark.parametrize("axis", range(4))
def test_box_that_sticks_out_is_not_contained(axis: int) -> None:
    whole = Box.whole((4, 4, 4, 4))
    step = tuple(int(i == axis) for i in range(4))
    assert not whole.contains(whole.shift(step))
    assert whole.contains(whole)
