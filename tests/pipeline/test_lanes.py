"""Which worker gets which blocks: all of them once, neighbours together, and what another one has not begun."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest

from pipeline.blocks import Box, grid, grid_shape
from pipeline.lanes import Lane, Lanes
from pipeline.pending import Pending

BLOCK = (1, 8, 8, 8)


def _run(lanes: Lanes[Box], changes: dict[int, dict[str, int]], seed: int = 0) -> list[tuple[str | None, Box]]:
    """Finish tasks in any order; `changes` says which workers there are from which task on."""
    chance = random.Random(seed)
    done: list[tuple[str | None, Box]] = []
    flying: list[tuple[Lane[Box], Box]] = []
    while True:
        if len(done) in changes:
            lanes.follow(changes[len(done)], 4)
        flying += [(lane, box) for lane, _, box in lanes.deal(len(flying))]
        if not flying:
            return done
        lane, box = flying.pop(chance.randrange(len(flying)))
        lane.flying -= 1
        done.append((lane.address, box))


@pytest.mark.parametrize(
    "changes",
    [{}, {0: {"a": 1}}, {0: {"a": 1, "b": 3}}, {0: {"a": 1}, 20: {"a": 1, "b": 1, "c": 1}, 60: {"c": 1, "b": 1}}],
    ids=["none", "one", "two", "come-and-go"],
)
def test_every_block_is_dealt_once(changes: dict[int, dict[str, int]]) -> None:
    region = Box.whole((1, 40, 40, 40))
    done = _run(Lanes(Pending(region, BLOCK), 16), changes)
    assert sorted(box for _, box in done) == list(grid(region, BLOCK))


def test_items_that_are_not_divided_come_in_their_order() -> None:
    lanes: Lanes[int] = Lanes(iter(range(10)), 4)
    assert [(number, item) for _, number, item in lanes.deal(0)] == [(i, i) for i in range(4)]
    assert [item for _, _, item in lanes.deal(3)] == []  # those of before are in flight still
    assert not lanes.divided


def test_window_and_threads_bound_what_is_in_flight() -> None:
    lanes = Lanes(Pending(Box.whole((1, 80, 80, 80)), BLOCK), 20)
    lanes.follow({"a": 1, "b": 2}, 4)
    dealt = Counter(lane.address for lane, _, _ in lanes.deal(0))
    assert dealt == {"a": 4, "b": 8, None: 8}  # the rest is for workers to come
    lanes = Lanes(Pending(Box.whole((1, 80, 80, 80)), BLOCK), 2)
    lanes.follow({"a": 1, "b": 1, "c": 1}, 4)
    assert len(list(lanes.deal(0))) == 2


def test_a_worker_has_a_part_of_its_own_that_is_about_a_cube() -> None:
    """Eight workers and a cube: each computes most of an eighth, so few blocks have neighbours elsewhere."""
    region = Box.whole((1, 128, 128, 128))
    lanes = Lanes(Pending(region, BLOCK), 32)
    done = _run(lanes, {0: dict.fromkeys("abcdefgh", 1)})
    by_worker = defaultdict(list)
    for address, box in done:
        by_worker[address].append(box)
    owner = {box.start: address for address, box in done}
    faces = cut = 0
    for start, address in owner.items():
        for axis in (1, 2, 3):
            beside = (*start[:axis], start[axis] + 8, *start[axis + 1 :])
            if beside in owner:
                faces, cut = faces + 1, cut + (owner[beside] != address)
    assert len(by_worker) == 8
    assert cut / faces < 0.15  # 0.07 at best; with blocks dealt in turn seven of eight
    assert max(map(len, by_worker.values())) < 1.2 * len(done) / 8


def test_nothing_is_lost_with_a_worker() -> None:
    region = Box.whole((1, 64, 64, 64))
    lanes = Lanes(Pending(region, BLOCK), 8)
    lanes.follow({"a": 1, "b": 1}, 4)
    first = list(lanes.deal(0))
    lanes.follow({"b": 1, "c": 1}, 4)
    for lane, _, _ in first:
        lane.flying -= 1
    rest = _run(lanes, {})
    assert len(first) + len(rest) == 512
    assert grid_shape(region, BLOCK) == (1, 8, 8, 8)
    assert {address for address, _ in rest} == {"b", "c"}
