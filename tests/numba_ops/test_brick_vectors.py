"""Operations on bricks, each against plain Python."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numba_ops.brick_vectors import (
    PARTED,
    ROW,
    add_shares,
    below_mask,
    count_votes,
    gather4,
    gather8,
    part_all,
    part_each,
)
from numba_ops.trees import BRICK, LEAF

MASK = st.integers(0, 2**64 - 1)


@numba.njit
def _below(array: Any, at: Any, threshold: Any) -> Any:
    return below_mask(array, np.uint64(at), threshold)


@numba.njit
def _part_all(words: Any, codes: Any, at: Any) -> Any:
    return part_all(words, codes, at[0], at[1], at[2], at[3], at[4], at[5])


@numba.njit
def _part_each(words: Any, codes: Any, at: Any) -> Any:
    return part_each(words, codes, at[0], at[1], at[2], at[3], at[4], at[5])


@numba.njit
def _count(words: Any, first: Any, n: Any, out: Any, at: Any) -> None:
    count_votes(words, first, n, out, at)


@numba.njit
def _add(sums: Any, at: Any, masks: Any, leaves: Any, first: Any, n: Any, table: Any, classes: Any, k: Any) -> None:
    add_shares(sums, at, masks, leaves, first, n, table, classes, k)


@numba.njit
def _gather(width: Any, array: Any, at: Any, places: Any, out: Any, to: Any, apart: Any) -> Any:
    if width == 4:
        return gather4(array, at, places, out, to, apart, ROW)
    return gather8(array, at, places, out, to, apart, ROW)


def _lanes(mask: int) -> list[bool]:
    return [bool(mask >> k & 1) for k in range(BRICK)]


@given(st.lists(st.floats(width=32), min_size=BRICK, max_size=BRICK), st.floats(width=32), st.integers(0, 5))
def test_below_mask(values: list[float], threshold: float, at: int) -> None:
    array = np.array([0.0] * at + values, np.float32)
    assert _lanes(int(_below(array, at, np.float32(threshold)))) == [value < threshold for value in values]


@pytest.mark.parametrize("part", [_part_all, _part_each])
@given(st.integers(0, 999))
def test_nodes_are_parted(part: Any, seed: int) -> None:
    """Children with voxels follow one another in any order, leaves and others apart; nothing else is touched."""
    rng = np.random.default_rng(seed)
    words, codes = rng.integers(0, 2**64, 100, np.uint64), rng.integers(0, 2**31, 100, np.uint32)
    masks, below, kids, inner, leaves, leaf_codes = at = (0, 8, 16, 30, 60, 10)
    sparse = rng.integers(0, 2**64, PARTED, np.uint64) & rng.integers(0, 2**64, PARTED, np.uint64)
    words[masks : masks + PARTED] = np.where(rng.random(PARTED) < 0.3, np.uint64(0), sparse)
    words[below : below + PARTED] *= rng.integers(0, 2, PARTED, np.uint64)
    pairs = rng.integers(0, 2**31, (PARTED, 2), np.uint32) | np.where(rng.random((PARTED, 2)) < 0.5, LEAF, np.uint32(0))
    words[kids : kids + PARTED] = pairs[:, 0] | pairs[:, 1].astype(np.uint64) << np.uint64(32)
    want: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
    for i in range(PARTED):
        left = int(words[masks + i] & words[below + i])
        for mask, code in zip((left, int(words[masks + i]) ^ left), pairs[i].tolist(), strict=True):
            if mask:
                want[code >= LEAF].append((mask, code))
    before = words.copy()
    inner_end, leaves_end = part(words, codes, tuple(np.uint64(i) for i in at))
    found = list(zip(words[inner:inner_end].tolist(), codes[inner:inner_end].tolist(), strict=True))
    assert sorted(found) == sorted(want[False])
    numbers = codes[leaves + leaf_codes : leaves_end + leaf_codes].tolist()
    assert sorted(zip(words[leaves:leaves_end].tolist(), numbers, strict=True)) == sorted(want[True])
    assert np.array_equal(words[:inner], before[:inner])
    assert np.array_equal(words[leaves_end + PARTED :], before[leaves_end + PARTED :])


@given(st.lists(MASK, max_size=9), st.integers(0, 3))
def test_votes_are_counted(masks: list[int], at: int) -> None:
    words, out = np.array([5, *masks], np.uint64), np.full(70, 0.5, np.float32)
    _count(words, 1, len(masks), out, at)
    assert out[at : at + BRICK].tolist() == [
        0.5 + sum(lane) for lane in zip([0] * BRICK, *map(_lanes, masks), strict=True)
    ]
    assert (np.delete(out, range(at, at + BRICK)) == 0.5).all()


def test_as_many_votes_as_fit() -> None:
    out = np.zeros(BRICK, np.float32)
    _count(np.full(255, 2**64 - 1, np.uint64), 0, 255, out, 0)
    assert (out == 255).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@given(st.lists(MASK, max_size=6), st.integers(0, 99))
def test_shares_are_added_in_order(kind: Any, masks: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    table, sums = rng.random((4, 3)).astype(kind), rng.random(70).astype(kind)
    leaves = rng.integers(0, 4, len(masks) + 1).astype(np.uint32)
    want = sums.copy()
    for mask, leaf in zip(masks, leaves[1:], strict=True):
        want[2 : 2 + BRICK][_lanes(mask)] += table[leaf, 1]
    _add(sums, 2, np.array([7, *masks], np.uint64), leaves, 1, len(masks), table.reshape(-1), 3, 1)
    assert np.array_equal(sums, want)


@pytest.mark.parametrize("width", [4, 8])
@pytest.mark.parametrize("nan", [False, True])
def test_rows_become_bricks(width: int, nan: bool) -> None:
    rng = np.random.default_rng(width)
    array = rng.random(3000).astype(np.float32)
    places = rng.permutation(BRICK // width) * 40
    array[7 + places[-1] + ROW] = np.nan  # just outside
    if nan:
        array[7 + places[3] + ROW - 1] = np.nan
    out = np.zeros(1000, np.float32)
    assert _gather(width, array, 7, places, out, 5, 100) == nan
    for brick in range(ROW // width):
        want = [array[7 + place + brick * width :][:width] for place in places]
        assert np.array_equal(out[5 + 100 * brick :][:BRICK], np.concatenate(want), equal_nan=True)
