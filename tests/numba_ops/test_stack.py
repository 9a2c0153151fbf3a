"""The description of a feature stack."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numba_ops import arena
from numba_ops.stack import FEATURES, build
from tests.numba_ops.stacks import compute, every_feature
from tests.oracles import load_golden_module

SCALES = (0.3, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0)


@given(st.permutations(FEATURES), st.lists(st.booleans(), min_size=42, max_size=42), st.integers(1, 4), st.booleans())
def test_columns_are_numbered_as_the_reference_does(
    rows: list[str], chosen: list[bool], channels: int, in_2d: bool
) -> None:
    matrix = np.array(chosen).reshape(6, 7)
    matrix[0, 2] = True
    flags = [in_2d or j % 2 == 0 for j in range(7)]
    stack = build(rows, SCALES, matrix.tolist(), flags, channels)
    want = load_golden_module("ref").Features(rows, SCALES, matrix, flags).channels(channels, 100)
    assert stack.n_columns == len(want)
    used = [j for j in range(7) if matrix[:, j].any()]
    assert [s.sigma for s in stack.scales] == [SCALES[j] for j in used]
    for scale in stack.scales:
        for channel in range(channels):
            for feature, column in enumerate(scale.columns[channel]):
                if column >= 0:
                    assert want[column] == (FEATURES[feature], scale.sigma, scale.in_2d, channel, 0)


@given(st.floats(0.3, 12), st.booleans())
def test_halo_stays_within_the_documented_context(scale: float, in_2d: bool) -> None:
    stack = every_feature([scale], [in_2d])
    context = 3 + math.ceil(3.5 * max(0.7, scale))
    z, y, x = stack.halo_zyx
    assert z == (0 if in_2d else y)
    assert x == y <= context


@pytest.mark.parametrize("in_2d", [False, True])
def test_scratch_bytes_are_those_that_a_tile_takes(in_2d: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = every_feature([0.7, 1.6], [in_2d, in_2d], channels=2)
    taken: list[int] = []
    take = arena.Arena.take

    def note(self: arena.Arena, n: int) -> Any:
        taken.append(4 * arena.arena_size(n))
        return take(self, n)

    monkeypatch.setattr(arena.Arena, "take", note)
    compute(np.zeros((2, 30, 40, 50), np.uint8), stack, [(8, 24), (10, 30), (12, 40)])
    assert sum(taken) <= stack.scratch_bytes(16, 20, 28) <= 1.3 * sum(taken)


def test_a_stack_is_plain_data() -> None:
    stack = every_feature([1.0], [False])
    copy = pickle.loads(pickle.dumps(stack))
    assert copy.n_columns == stack.n_columns
    assert np.array_equal(copy.scales[0].presmooth, stack.scales[0].presmooth)
    code = "import sys, numba_ops.stack; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
