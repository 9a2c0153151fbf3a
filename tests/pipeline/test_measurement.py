"""Measurements of objects: scikit-image's on the whole image, to the bit the same however an array is cut."""

from __future__ import annotations

from typing import Any

import dask.array
import numpy as np
import pandas
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.measure import regionprops_table

from pipeline import measure
from pipeline.blocks import Box
from pipeline.errors import PlanError
from pipeline.measurement import blocks, cell_shape, measure_block

Array = NDArray[Any]
PROPERTIES = (
    *("label", "num_pixels", "bbox", "centroid", "axis_major_length", "axis_minor_length"),
    *("intensity_mean", "intensity_min", "intensity_max", "intensity_std"),
)


def make_objects(seed: int, shape: tuple[int, ...]) -> Array:
    """Balls that overlap, so that some are cut in two and some are a voxel; ids have gaps."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    places = np.indices(shape)
    for number in rng.integers(1, 999, rng.integers(1, 25)):
        centre = [rng.integers(n) for n in shape]
        apart = sum((axis - at) ** 2 for axis, at in zip(places, centre, strict=True))
        labels[apart <= rng.integers(0, 40)] = number
    return labels


def label_array(labels: Array, dims: str, **attrs: Any) -> xarray.DataArray:
    return xarray.DataArray(labels, dims=tuple(dims), attrs=attrs)


@given(
    seed=st.integers(0, 2**32),
    shape=st.one_of(st.tuples(*[st.integers(2, 20)] * 3), st.tuples(*[st.integers(2, 70)] * 2)),
    kind=st.sampled_from(["uint8", "uint16", "int16", "float32", "int32"]),
)
def test_columns_are_those_of_scikit_image(seed: int, shape: tuple[int, ...], kind: str) -> None:
    labels, rng = make_objects(seed, shape), np.random.default_rng(seed)
    raw = (rng.integers(0, 255, shape) + rng.random(shape)).astype(kind)
    dims = "zyx"[3 - len(shape) :]
    spacing = dict(zip(dims, (2.5, 0.5, 0.25)[3 - len(shape) :], strict=True))
    ours = measure(label_array(labels, dims, spacing=spacing), label_array(raw, dims))
    with np.errstate(invalid="ignore"):
        theirs = regionprops_table(labels, raw, properties=PROPERTIES, spacing=tuple(spacing.values()))
    assert ours["id"].tolist() == theirs["label"].tolist()
    assert ours["size"].tolist() == theirs["num_pixels"].tolist()
    for k, axis in enumerate(dims):
        assert ours[f"bbox_{axis}_start"].tolist() == theirs[f"bbox-{k}"].tolist()
        assert ours[f"bbox_{axis}_stop"].tolist() == theirs[f"bbox-{k + len(dims)}"].tolist()
        assert np.allclose(ours[f"position_{axis}"], theirs[f"centroid-{k}"], rtol=1e-12)
        assert np.allclose(ours[f"centroid_{axis}"] * spacing[axis], theirs[f"centroid-{k}"], rtol=1e-12)
    assert np.allclose(ours["axis_major_length"], theirs["axis_major_length"], rtol=1e-6, atol=1e-6)
    assert np.allclose(ours["axis_minor_length"], theirs["axis_minor_length"], rtol=1e-6, atol=1e-5)
    for name in ("mean", "min", "max"):
        assert np.allclose(ours[f"raw_{name}"], theirs[f"intensity_{name}"], rtol=1e-6)
    assert np.allclose(ours["raw_std"], theirs["intensity_std"], rtol=1e-4, atol=1e-4)  # theirs is in raw's precision
    exact = raw.astype(np.int64) if kind != "float32" else raw.astype(np.float64)
    for row in ours.itertuples():
        assert row.raw_sum == pytest.approx(exact[labels == row.id].sum(), rel=0 if kind != "float32" else 1e-12)


@given(data=st.data(), seed=st.integers(0, 2**32))
def test_table_does_not_depend_on_chunks(data: st.DataObject, seed: int) -> None:
    shape = (2, 20, 40, 33)
    rng = np.random.default_rng(seed)
    labels = np.stack([make_objects(seed + t, shape[1:]) for t in range(2)])
    labels[:, 5:9] = 7  # one object in many cells
    values = rng.random((2, 3, *shape[1:]), np.float32)
    chunks = tuple(data.draw(st.integers(-(-n // 3), n)) for n in shape)
    cut = label_array(dask.array.from_array(labels, chunks=chunks), "tzyx")
    channels = label_array(dask.array.from_array(values, chunks=(1, 2, *chunks[:0:-1])), "tczyx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.measurement.CELL_VOXELS", 16**3)
        whole = measure(label_array(labels, "tzyx"), prob=label_array(values, "tczyx"))
        pandas.testing.assert_frame_equal(measure(cut, prob=channels), whole, check_exact=True)


@given(voxels=st.integers(1, 1 << 22), shape=st.tuples(*[st.integers(1, 700)] * 4))
def test_blocks_are_whole_cells_that_cover_the_image(voxels: int, shape: tuple[int, int, int, int]) -> None:
    cell = cell_shape(shape)
    seen = 0
    for number, box in enumerate(blocks(shape, max(voxels, shape[0] * 4096))):
        assert all(a % c == 0 and (b % c == 0 or b == n) for a, b, c, n in zip(*_ends(box), cell, shape, strict=True))
        seen += box.size
        if number > 2000:
            return
    assert seen == np.prod(shape)


def _ends(box: Box) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return box.start, box.stop


def test_blocks_of_any_size_give_the_same_rows() -> None:
    shape = (1, 130, 70, 140)
    labels = make_objects(3, shape[1:])[None]
    raw = np.random.default_rng(0).random((1, 2, *shape[1:]))
    tables = []
    for voxels in (1, 10**9):
        rows = [measure_block(labels[b.slices()], [raw[b.slices()[0]][:, :, *b.slices()[1:]]], b, shape)
                for b in blocks(shape, voxels)]  # fmt: skip
        joined = np.concatenate(rows)
        tables.append(joined[np.lexsort((joined["cell"], joined["id"], joined["t"]))])
    assert np.array_equal(tables[0], tables[1])


def test_far_away_objects_and_bright_values_lose_nothing() -> None:
    labels = np.zeros((1, 1, 300_000), np.uint8)
    labels[..., -600:] = 1
    raw = np.full(labels.shape, 60_000.0)
    raw[..., -600::2] += 0.001
    table = measure(label_array(labels, "zyx"), label_array(raw, "zyx"))
    assert table["axis_major_length"][0] == pytest.approx(2 * np.sqrt(5 * (600**2 - 1) / 12), rel=1e-12)
    assert table["raw_std"][0] == pytest.approx(0.0005, rel=1e-6)


def test_names_of_columns() -> None:
    labels = label_array(np.ones((2, 3, 4), np.int8), "tyx", spacing={"y": 2.0, "x": 2.0}, units={"y": "um", "x": "um"})
    raw = label_array(np.ones((2, 2, 3, 4), bool), "tcyx")
    prob = xarray.DataArray(np.ones((1, 2, 3, 4), "f4"), dims=tuple("ctyx"), coords={"c": ["Nucleus"]})
    table = measure(labels, raw, prob)
    assert list(table.columns) == [
        *("id", "t", "size", "bbox_y_start", "bbox_y_stop", "bbox_x_start", "bbox_x_stop", "centroid_y", "centroid_x"),
        *("position_y", "position_x", "axis_major_length", "axis_minor_length", "unit", "touches_border"),
        *(f"raw_{c}_{name}" for c in (0, 1) for name in ("mean", "sum", "min", "max", "std")),
        *(f"probability_Nucleus_{name}" for name in ("mean", "sum", "min", "max", "std")),
    ]
    assert table["t"].tolist() == [0, 1]
    assert table["raw_0_sum"].tolist() == [12, 12]
    assert table["unit"].tolist() == ["um", "um"]


def test_no_objects_give_an_empty_table() -> None:
    labels = label_array(np.zeros((8, 9), np.uint8), "yx")
    table = measure(labels, label_array(np.zeros((8, 9)), "yx"))
    assert len(table) == 0
    assert {"id", "size", "axis_minor_length", "raw_std"} <= set(table.columns)


def test_border_is_that_of_the_image() -> None:
    labels = np.zeros((1, 9, 9), np.uint8)
    labels[0, 4, 4], labels[0, 8, 2], labels[0, 2, 0] = 1, 2, 3
    assert measure(label_array(labels, "zyx"))["touches_border"].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("labels", "raw", "said"),
    [
        (np.zeros((4, 4), "f4"), None, "float32; allowed are integers"),
        (np.full((4, 4), -1), None, "labels hold -1"),
        (np.zeros((4, 4), "u1"), np.zeros((4, 5)), "raw values have y=4 x=5, the labels y=4 x=4"),
        (np.zeros((4, 4), "u1"), np.zeros((4, 4), complex), "raw values are complex128"),
    ],
)
def test_what_does_not_fit_is_refused(labels: Array, raw: Array | None, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        measure(label_array(labels, "yx"), None if raw is None else label_array(raw, "yx"))
