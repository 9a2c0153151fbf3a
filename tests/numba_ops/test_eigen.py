"""Eigenvalues of tensors, equal to the bit to the reference's closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from numba_ops.eigen import eigenvalues_2d, eigenvalues_3d
from tests.oracles import load_golden_module

Float = NDArray[np.float32]
AWKWARD = [0.0, -0.0, 1.0, -1.0, 0.5, 3.0, 1e-45, 1e-38, 1e-20, 1e20, 3e38, -3e38, np.inf, -np.inf, np.nan, 1 / 3]


def _solve_3d(tensors: Float) -> Float:
    result = np.empty((3, tensors.shape[1]), np.float32)
    eigenvalues_3d(*np.ascontiguousarray(tensors), *result)
    return result


def _expect_3d(tensors: Float) -> Float:
    with np.errstate(all="ignore"):
        result: Float = load_golden_module("ref").eigenvalues_3d(*tensors)
    return result


def _outer(vectors: Float) -> Float:
    z, y, x = vectors
    return np.stack([z * z, z * y, z * x, y * y, y * x, x * x])


def _make_tensors(kind: str, n: int) -> Float:
    rng = np.random.default_rng(len(kind))
    tensors = rng.standard_normal((6, n)).astype(np.float32)
    if kind == "spread":
        tensors *= np.exp(rng.normal(0, 8, (6, n))).astype(np.float32)
    elif kind == "integer":  # many equal eigenvalues, exact zeros
        tensors = np.round(2 * tensors)
    elif kind == "rank one":
        tensors = _outer(tensors[:3])
    elif kind == "nearly isotropic":
        tensors *= np.float32(1e-5)
        tensors[[0, 3, 5]] += 1
    elif kind == "diagonal":
        tensors[[1, 2, 4]] = 0
    return tensors


@pytest.mark.parametrize("kind", ["random", "spread", "integer", "rank one", "nearly isotropic", "diagonal"])
def test_many_tensors(kind: str) -> None:
    tensors = _make_tensors(kind, 340_000)
    assert np.array_equal(_solve_3d(tensors), _expect_3d(tensors))


@given(st.lists(st.tuples(*[st.sampled_from(AWKWARD) | st.floats(width=32)] * 6), min_size=1, max_size=40))
def test_awkward_tensors(entries: list[tuple[float, ...]]) -> None:
    tensors = np.array(entries, np.float32).T
    assert np.array_equal(_solve_3d(tensors), _expect_3d(tensors), equal_nan=True)


def test_a_zero_tensor_gives_zero() -> None:
    assert np.array_equal(_solve_3d(np.zeros((6, 33), np.float32)), np.zeros((3, 33)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("entry", range(6))
def test_one_entry_that_is_not_finite_spoils_all_three(bad: float, entry: int) -> None:
    tensors = _make_tensors("random", 20)
    tensors[entry, 7] = bad
    result = _solve_3d(tensors)
    assert np.isnan(result[:, 7]).all()
    assert np.isfinite(np.delete(result, 7, axis=1)).all()


def test_closed_form_stays_near_the_true_eigenvalues() -> None:
    tensors = _make_tensors("random", 2000)
    z0, z1, z2, y1, y2, x2 = tensors.astype(float)
    matrices = np.array([[z0, z1, z2], [z1, y1, y2], [z2, y2, x2]]).transpose(2, 0, 1)
    true = np.linalg.eigvalsh(matrices).T[::-1]
    assert (np.abs(_solve_3d(tensors) - true) <= 1e-3 * np.abs(true).max(axis=0)).all()


@given(st.lists(st.tuples(*[st.sampled_from(AWKWARD) | st.floats(width=32)] * 3), min_size=1, max_size=40))
def test_2d(entries: list[tuple[float, ...]]) -> None:
    yy, yx, xx = np.ascontiguousarray(np.array(entries, np.float32).T)
    result = np.empty((2, len(yy)), np.float32)
    eigenvalues_2d(yy, yx, xx, *result)
    with np.errstate(all="ignore"):
        want = load_golden_module("ref").eigenvalues_2d(xx, yx, yy)
    assert np.array_equal(result, want, equal_nan=True)
