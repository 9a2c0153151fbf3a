"""Blocks that are left: each once, in an order in which runs are compact, and no block that is done."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from pipeline.blocks import Box, grid, halve
from pipeline.pending import Pending

SIZES = st.integers(1, 40)


def _walk(pending: Pending, part: Box) -> Iterator[Box]:
    parts = pending.divide(part)
    if parts is None:
        yield part
    else:
        for smaller in parts:
            yield from _walk(pending, smaller)


@given(st.tuples(SIZES, SIZES, SIZES), st.tuples(*[st.integers(1, 20)] * 3), st.tuples(*[st.integers(0, 9)] * 3))
def test_all_blocks_come_once_under_their_numbers(
    shape: tuple[int, int, int], block: tuple[int, int, int], start: tuple[int, int, int]
) -> None:
    region = Box((1, *start), (3, *(a + n for a, n in zip(start, shape, strict=True))))  # type: ignore[arg-type]
    pending = Pending(region, (1, *block))
    numbered = {pending.number(box): box for box in _walk(pending, region)}
    assert numbered == dict(enumerate(grid(region, (1, *block))))
    assert (pending.n_left, pending.n_done, pending.voxels) == (len(numbered), 0, region.size)


def test_what_is_done_is_left_out() -> None:
    region = Box.whole((1, 40, 40, 40))
    pending = Pending(region, (1, 16, 16, 16), lambda box: box.start[1] == 16)
    left = list(_walk(pending, region))
    assert sorted(left) == [box for box in grid(region, (1, 16, 16, 16)) if box.start[1] != 16]
    assert (pending.n_left, pending.n_done, pending.voxels) == (18, 9, sum(box.size for box in left))


def test_a_single_block_that_is_done_leaves_nothing_to_be_told_of() -> None:
    pending = Pending(Box.whole((1, 4, 4, 4)), (1, 8, 8, 8), lambda box: True)
    assert (pending.n_left, pending.voxels) == (0, 0)
    assert pending.whole is None


def test_runs_of_blocks_are_compact() -> None:
    """Sixty-four blocks in a row are four along each axis, and eight are two."""
    region = Box.whole((1, 128, 128, 128))
    pending = Pending(region, (1, 8, 8, 8))
    order = list(_walk(pending, region))
    for length, edge in ((8, 16), (64, 32), (512, 64)):
        for first in range(0, len(order), length):
            run = order[first : first + length]
            low = [min(box.start[axis] for box in run) for axis in range(1, 4)]
            high = [max(box.stop[axis] for box in run) for axis in range(1, 4)]
            assert [b - a for a, b in zip(low, high, strict=True)] == [edge] * 3


def test_times_are_parted_first() -> None:
    region = Box.whole((3, 9, 9, 9))
    first, second = halve(region, (1, 4, 4, 4)) or (region, region)
    assert (first.shape, second.shape) == ((2, 9, 9, 9), (1, 9, 9, 9))
    assert halve(Box.whole((1, 3, 4, 4)), (1, 4, 4, 4)) is None
