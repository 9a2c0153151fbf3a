"""Feature stacks: golden values, the plain reference, tiles, threads, processes and other processors."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from numba_ops.stack import FEATURES, build
from tests.numba_ops.stacks import Ranges, compute, compute_plainly, every_feature, least_size

ROOT = Path(__file__).parents[2]
GOLDEN = [
    ("feat_2d_u8", "in_2d_u8"),
    ("feat_2d3c_u8", "in_2d3c_u8"),
    ("feat_3d_u8", "in_3d_u8"),
    ("feat_3d_mixed_u16", "in_3d_u16"),
    ("feat_3d_all2d_u16", "in_3d_u16"),
    ("feat_flat_3d", "in_flat_3d"),
]
DTYPES = ["uint8", "uint16", "uint32", "int8", "int16", "int64", "float16", "float32", "float64"]


def _read_volume(golden_dir: Path, name: str) -> NDArray[np.generic]:
    image = np.load(golden_dir / f"{name}.npy")
    if name == "in_2d3c_u8":
        return np.ascontiguousarray(np.moveaxis(image, -1, 0)[:, None])
    return image.reshape(1, *(1,) * (3 - image.ndim), *image.shape)


@pytest.mark.parametrize(("name", "source"), GOLDEN)
def test_golden_features(golden_dir: Path, name: str, source: str) -> None:
    volume = _read_volume(golden_dir, source)
    with np.load(golden_dir / f"{name}.npz") as golden:
        stack = every_feature(golden["scales"].tolist(), golden["compute_in_2d"].tolist(), len(volume))
        z, y, x = golden["points_zyx"].T
        assert np.array_equal(compute(volume, stack)[:, z, y, x], golden["values"])


def _make_volume(shape: tuple[int, ...], dtype: str, seed: int, special: int = 0) -> NDArray[np.generic]:
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind in "ui":
        limits = np.iinfo(kind)
        return rng.integers(limits.min, limits.max, shape, kind, endpoint=True)
    volume = rng.normal(0, 50, shape).astype(kind)
    for value in rng.choice([0.0, -0.0, 1e-40, 1e20, 1e38, np.inf, -np.inf, np.nan], special):
        with np.errstate(all="ignore"):
            volume[tuple(rng.integers(0, shape))] = value
    return volume


@st.composite
def _cases(draw: st.DrawFn) -> tuple[NDArray[np.generic], list[str], list[float], NDArray[np.bool_], list[bool]]:
    """A volume, some of them of the least size that the size rule allows, and a selection that fits it."""
    count = draw(st.integers(1, 3))
    scales = draw(st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.7, 1.0, 1.3, 1.6, 2.2]), min_size=count, max_size=count))
    rows = draw(st.permutations(FEATURES))
    matrix = np.array(draw(st.lists(st.booleans(), min_size=6 * count, max_size=6 * count))).reshape(6, count)
    matrix[draw(st.integers(0, 5)), draw(st.integers(0, count - 1))] = True
    in_2d = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    deep = [s for j, s in enumerate(scales) if matrix[:, j].any() and not in_2d[j]]
    least = least_size([s for j, s in enumerate(scales) if matrix[:, j].any()])
    depth = (least_size(deep) if deep else 1) + draw(st.sampled_from([0, 0, 1, 4]))
    y, x = (least + draw(st.sampled_from([0, 1, 5, 12])) for _ in range(2))
    shape = (draw(st.integers(1, 2)), depth, y, x)
    volume = _make_volume(shape, draw(st.sampled_from(DTYPES)), draw(st.integers(0, 99)), draw(st.sampled_from([0, 3])))
    return volume, rows, scales, matrix, in_2d


@given(_cases())
def test_any_selection_of_any_volume(case: tuple) -> None:
    volume, rows, scales, matrix, in_2d = case
    stack = build(rows, scales, matrix.tolist(), in_2d, len(volume))
    with np.errstate(over="ignore"):
        want = compute_plainly(volume, rows, scales, matrix, in_2d)
    assert np.array_equal(compute(volume, stack), want, equal_nan=True)


@pytest.mark.parametrize("scale", [3.5, 5.0, 10.0])
def test_large_scales_at_the_least_size(scale: float) -> None:
    edge = least_size([scale])
    volume = _make_volume((1, edge, edge, edge + 1), "uint16", 1)
    matrix = np.zeros((6, 1), bool)
    matrix[[0, 5]] = True
    stack = build(FEATURES, [scale], matrix.tolist(), [False], 1)
    assert np.array_equal(compute(volume, stack), compute_plainly(volume, FEATURES, [scale], matrix, [False]))


@pytest.fixture(scope="module")
def whole() -> tuple[NDArray[np.generic], NDArray[np.float32]]:
    """A volume and all its features, some of them in 2-D."""
    volume = _make_volume((1, 26, 30, 44), "uint8", 5)
    return volume, compute(volume, every_feature([0.7, 1.6, 3.5], [False, True, False]))


@given(data=st.data())
def test_any_region_equals_the_whole(data: st.DataObject, whole: tuple) -> None:
    volume, features = whole
    core: Ranges = [
        tuple(sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))))  # type: ignore[misc]
        for n in volume.shape[1:]
    ]
    got = compute(volume, every_feature([0.7, 1.6, 3.5], [False, True, False]), core)
    assert np.array_equal(got, features[(slice(None), *(slice(a, b) for a, b in core))])


def test_a_wide_tile(whole: tuple) -> None:
    volume = np.tile(whole[0][:, :2, :12], (1, 1, 1, 30))
    stack = every_feature([0.7, 1.0], [True, True])
    matrix = np.ones((6, 2), bool)
    assert np.array_equal(compute(volume, stack), compute_plainly(volume, FEATURES, [0.7, 1.0], matrix, [True, True]))


@pytest.mark.parametrize("scale", [0.7, 1.0, 3.5])
def test_smoothing_agrees_with_scipy(scale: float) -> None:
    volume = _make_volume((1, 16, 20, 24), "uint8", 3)
    matrix = np.zeros((6, 1), bool)
    matrix[0] = True
    stack = build(FEATURES, [scale], matrix.tolist(), [False], 1)
    want = volume[0].astype(float)
    for k in (stack.scales[0].presmooth, stack.scales[0].filters[0]):
        for axis in range(3):
            want = scipy.ndimage.correlate1d(want, np.r_[k[:0:-1], k].astype(float), axis, mode="mirror")
    assert np.abs(compute(volume, stack)[0] - want).max() <= 1e-5 * 255


def test_inputs_that_are_read_only_or_not_contiguous(whole: tuple) -> None:
    volume, features = whole
    stack = every_feature([0.7, 1.6, 3.5], [False, True, False])
    other = np.ascontiguousarray(volume.transpose(0, 3, 2, 1)).transpose(0, 3, 2, 1)
    other.flags.writeable = False
    assert np.array_equal(compute(other, stack), features)


def _compute_here(volume: NDArray[np.generic]) -> NDArray[np.float32]:
    return compute(volume, every_feature([0.7, 1.6, 3.5], [False, True, False]))


def test_threads_at_once_give_the_same_bits(whole: tuple) -> None:
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(_compute_here, [whole[0]] * 8):
            assert np.array_equal(got, whole[1])


def test_processes_give_the_same_bits(whole: tuple) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for got in pool.map(_compute_here, [whole[0]] * 2):
            assert np.array_equal(got, whole[1])


KERNELS = """
import hashlib
import numpy as np
from numba_ops.eigen import eigenvalues_2d, eigenvalues_3d
from numba_ops.gaussian import convolve_rows, differentiate, smooth_across, smooth_along
from numba_ops.taps import lay_out, taps
from numba_ops.arena import allocate

rng = np.random.default_rng(0)
source, out = allocate(5000), allocate(5000)
out[:] = 0
source[:] = rng.normal(0, 100, len(source))
offsets = np.arange(-20, 21)
filters = lay_out([taps(1.0, order, 2.0) for order in range(3)])
smooth = taps(3.0, 0, 3.5)
convolve_rows(source, 30, 100, offsets, 10, smooth, 0, 10, False, out, 0, 80, 3, 80)
convolve_rows(source, 30, 100, offsets, 10, smooth, 0, 10, True, out, 240, 80, 3, 80)
smooth_across(source, 0, np.arange(0, 3200, 100), smooth, 10, out, 500, 112, 9, 112)
differentiate(source, 30, 100, offsets[18:], filters, 7, out, 1600, 320, 80, 4, 80)
along, scratch = allocate(3200), allocate(4300)
smooth_along(source, 30, 100, np.empty(25, np.int64), smooth, 10, along, 0, 80, 40, 80, scratch, 0)
tensors = np.round(rng.normal(0, 3, (6, 1000))).astype(np.float32)
tensors[:, :500] *= rng.normal(1, 0.1, (6, 500)).astype(np.float32)
values = np.empty((5, 1000), np.float32)
eigenvalues_3d(*tensors, *values[:3])
eigenvalues_2d(*tensors[3:], *values[3:])
digest = hashlib.sha256(out.tobytes() + along[:3200].tobytes() + values.tobytes()).hexdigest()
"""


@pytest.mark.parametrize(("name", "features"), [("haswell", "+avx,+avx2,+fma,+bmi,+bmi2"), ("generic", "")])
def test_other_processors_give_the_same_bits(name: str, features: str, tmp_path: Path) -> None:
    """Code made for AVX2, and for processors without a fused multiply-add, which then is a call of the C library."""
    if platform.machine() != "x86_64":
        pytest.skip("names of x86 processors")
    chosen = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = [sys.executable, "-c", KERNELS + "print(digest)"]
    environment = os.environ | chosen | {"PYTHONPATH": str(ROOT)}
    other = subprocess.run(run, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    here: dict[str, str] = {}
    exec(KERNELS, here)
    assert other == here["digest"]
