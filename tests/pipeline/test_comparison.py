"""Comparing two results: numbers against plain NumPy, shapes, axes, types, damaged values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline import comparison
from pipeline.comparison import Comparison, compare, parse_tolerance
from pipeline.errors import PlanError, ReadError, VolumeError
from pipeline.progress import Progress
from pipeline.volume import Volume, open_raw
from tests.outputs import begin, make_spec, make_values, write_all


def save(folder: Path, name: str, values: np.ndarray[Any, Any], axes: str) -> Volume:
    np.save(folder / f"{name}.npy", values)
    return open_raw(folder / f"{name}.npy", axes=axes)


def compare_arrays(folder: Path, ours: Any, theirs: Any, axes: str = "zyxc", **options: Any) -> Comparison:
    tolerance = parse_tolerance(options.pop("tolerance", "ilastik"))
    sides = save(folder, "ours", ours, axes), save(folder, "theirs", theirs, options.pop("axes_theirs", axes))
    return compare(*sides, tolerance, Progress(), **options)


def make_probabilities(seed: int, shape: tuple[int, ...] = (9, 14, 11, 3)) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def test_numbers_are_those_of_numpy_whatever_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "BLOCK_VALUES", 200)
    ours, theirs = make_probabilities(0), make_probabilities(1)
    found = compare_arrays(tmp_path, ours, theirs)
    apart = np.abs(ours.astype(np.float64) - theirs)
    assert found.values == apart.size
    assert found.maximum == apart.max()
    assert found.mean == pytest.approx(apart.mean(), rel=1e-12)
    assert found.reached == {t: int((apart >= t).sum()) for t in (0.015, 0.15)}
    assert found.agreeing == int((ours.argmax(-1) == theirs.argmax(-1)).sum())
    for share, value in found.quantiles.items():
        exact = np.sort(apart, axis=None)[math.ceil(share * apart.size) - 1]
        assert value <= exact <= value * 1.001
    worst = found.worst[0]
    t, c, z, y, x = worst.index
    assert (t, apart[z, y, x, c]) == (0, apart.max())
    assert (worst.ours, worst.theirs, worst.difference) == (ours[z, y, x, c], theirs[z, y, x, c], apart.max())
    assert [place.difference for place in found.worst] == sorted((p.difference for p in found.worst), reverse=True)
    assert len({place.index for place in found.worst}) == comparison.WORST


@given(st.data())
def test_any_two_arrays_give_what_numpy_gives(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shape = data.draw(arrays.array_shapes(min_dims=3, max_dims=3, max_side=6))
    dtype = data.draw(st.sampled_from(["float32", "float64", "uint8", "int16", "uint64", "bool"]))
    ours, theirs = (data.draw(arrays.arrays(dtype, shape)) for _ in range(2))
    found = compare_arrays(tmp_path_factory.mktemp("any"), ours, theirs, "zyx", scaled=False)
    same = (ours == theirs) | ((ours != ours) & (theirs != theirs))
    assert found.quantiles[0.5] <= found.maximum
    assert (found.maximum == 0) == bool(same.all())
    assert bool(found.worst) != bool(same.all())


def test_worst_places_are_spread_over_a_small_volume(tmp_path: Path) -> None:
    ours = make_probabilities(0, (64, 40, 40, 2))
    theirs = ours.copy()
    theirs[::31, ::38, ::38, 1] += 1
    places = [place.index for place in compare_arrays(tmp_path, ours, theirs).worst]
    assert len(places) == comparison.WORST
    assert {place[1] for place in places} == {1}
    assert {n % 31 for _, _, n, _, _ in places} == {n % 38 for _, _, _, *yx in places for n in yx} == {0}


@pytest.mark.parametrize(
    ("many", "by", "within"),
    [(0, 0.2, True), (10, 0.015, True), (11, 0.015, False), (9, 0.14, True), (1, 0.15, False), (1000, 0.0149, True)],
)
def test_ilastiks_tolerance_is_a_share_and_a_limit(tmp_path: Path, many: int, by: float, within: bool) -> None:
    ours = np.zeros((100, 100), np.float64)
    theirs = ours.copy()
    theirs.flat[:many] = by
    assert compare_arrays(tmp_path, ours, theirs, "yx").within is within


@pytest.mark.parametrize(("tolerance", "within"), [("0", False), ("0.24", False), ("0.25", True), ("1", True)])
def test_number_is_what_no_difference_may_exceed(tmp_path: Path, tolerance: str, within: bool) -> None:
    ours = np.zeros((4, 5), np.float32)
    theirs = ours.copy()
    theirs[2, 3] = 0.25
    assert compare_arrays(tmp_path, ours, theirs, "yx", tolerance=tolerance).within is within
    assert compare_arrays(tmp_path, ours, ours, "yx", tolerance=tolerance).within


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "close", ""])
def test_tolerance_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="neither 'ilastik' nor a number"):
        parse_tolerance(text)


@pytest.mark.parametrize("axes", ["zyxc", "czyx", "xyzc", "cxzy"])
def test_order_of_axes_does_not_matter(tmp_path: Path, axes: str) -> None:
    ours = make_probabilities(0)
    theirs = np.einsum(f"zyxc->{axes}", ours)
    found = compare_arrays(tmp_path, ours, theirs, axes_theirs=axes, tolerance="0")
    assert found.within
    assert found.worst == ()


@pytest.mark.parametrize("name", ["theirs.zarr", "theirs.h5", "theirs.tif", "theirs.tiff"])
def test_formats_do_not_matter(tmp_path: Path, name: str) -> None:
    spec = make_spec()
    values = make_values(spec)
    write_all(begin(tmp_path / name, spec), {"probabilities": values})
    found = compare(
        save(tmp_path, "ours", np.moveaxis(values, 0, -1), "zyxc"),
        open_raw(tmp_path / name),
        parse_tolerance("0"),
        Progress(),
    )
    assert found.within


def test_missing_axis_counts_as_one_of_length_one(tmp_path: Path) -> None:
    ours = np.ones((6, 7), np.uint8)
    theirs = save(tmp_path, "theirs", ours[None, :, :, None], "zyxc")
    assert compare(save(tmp_path, "ours", ours, "yx"), theirs, parse_tolerance("0"), Progress()).within


def test_different_shapes_are_named_on_both_sides(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"ours.npy is z=4 y=5 x=6 .*theirs.npy is z=4 y=6 x=5 .*--axes-theirs") as e:
        compare_arrays(tmp_path, np.zeros((4, 5, 6)), np.zeros((4, 5, 6)), "zyx", axes_theirs="zxy")
    assert (e.value.code, e.value.exit_code) == ("shapes", 2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_stand_for_parts_of_one_beside_a_float(tmp_path: Path, dtype: str) -> None:
    ours, largest = make_probabilities(0), np.iinfo(dtype).max
    theirs = np.rint(ours * np.float32(largest)).astype(dtype)
    found = compare_arrays(tmp_path, ours, theirs)
    assert found.divisors == (1.0, largest)
    assert found.maximum <= 0.51 / largest
    assert found.within


def test_integers_of_two_sizes_are_scaled_where_they_have_channels(tmp_path: Path) -> None:
    ours = make_probabilities(0)
    small, large = (np.rint(ours * np.float32(np.iinfo(d).max)).astype(d) for d in ("uint8", "uint16"))
    assert compare_arrays(tmp_path, small, large).maximum < 0.003


def test_labels_are_compared_as_they_are(tmp_path: Path) -> None:
    ours = np.array([[1, 2], [3, 1]], np.uint8)
    theirs = np.array([[1, 2], [2, 1]], np.uint8)
    found = compare_arrays(tmp_path, ours, theirs, "yx")
    assert (found.maximum, found.within, found.agreeing) == (1.0, False, None)
    assert compare_arrays(tmp_path, ours.astype(np.float32), theirs, "yx", scaled=False).maximum == 1.0
    assert compare_arrays(tmp_path, ours, theirs, "yx", scaled=True).maximum == pytest.approx(1 / 255)


def test_large_labels_that_differ_by_one_differ(tmp_path: Path) -> None:
    ours = np.full((3, 3), 2**63, np.uint64)
    assert compare_arrays(tmp_path, ours, ours + np.uint64(1), "yx").maximum == 1.0


def test_nan_equals_nan_alone(tmp_path: Path) -> None:
    ours = np.array([[np.nan, np.nan, np.inf, -np.inf, 1.0]])
    theirs = np.array([[np.nan, 0.5, np.inf, np.inf, 1.0]])
    found = compare_arrays(tmp_path, ours, theirs, "yx", tolerance="1000")
    assert (found.maximum, found.reached[0.15], found.within) == (math.inf, 2, False)
    assert found.quantiles[0.5] == 0.0


def test_damaged_side_is_named(tmp_path: Path) -> None:
    ours = save(tmp_path, "ours", np.zeros((4, 5)), "yx")
    theirs = save(tmp_path, "theirs", np.zeros((4, 5)), "yx")
    (tmp_path / "theirs.npy").unlink()
    with pytest.raises(ReadError, match=r"theirs.npy"):
        compare(ours, theirs, parse_tolerance("0"), Progress())


@pytest.mark.parametrize(
    ("chunks", "shape", "channels"),
    [((1, 64, 64), (100, 200, 300), 2), ((4000, 4000, 4000), (4000, 4000, 4000), 1), ((1, 1, 10**7), (3, 5, 10**7), 7)],
)
def test_blocks_are_bounded_whatever_the_chunks(chunks: Any, shape: Any, channels: int) -> None:
    class Shape:
        dims, n_channels = "zyx", channels
        whole = comparison.Box.whole((2, *shape))

    Shape.chunks = chunks  # type: ignore[attr-defined]
    block = comparison._choose_block(Shape)  # type: ignore[arg-type]
    assert block[0] == 1
    assert comparison.BLOCK_VALUES / 8 <= math.prod(block) * channels <= comparison.BLOCK_VALUES
