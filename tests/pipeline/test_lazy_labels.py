"""`segment`: the same labels from any Dask array, in any blocks, and nothing before they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import dask
import numpy as np
import numpy.typing as npt
import pytest
import xarray
from hypothesis import given, note, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline import label_graph, open_volume, predict, segment
from pipeline.errors import PlanError
from pipeline.lazy_labels import label_lazily
from pipeline.project import open_project
from pipeline.thresholding import Thresholding
from pipeline.volume import as_array
from tests.models import memory_volume
from tests.objects import MapCase, golden_cases, label_slowly, map_cases, some_blocks

Array = npt.NDArray[Any]
GOLDEN = sorted(golden_cases(Path(__file__).parents[1] / "golden"))


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    with dask.config.set(scheduler="sync"):
        yield


@pytest.mark.parametrize("name", GOLDEN)
def test_any_blocks_have_ilastiks_labels(name: str, golden_dir: Path) -> None:
    prob, expected, thresholding = golden_cases(golden_dir)[name]
    array = xarray.DataArray(prob, dims=list("tczyx"))
    for block in some_blocks(expected.shape[1:]):
        labels = label_lazily(array, thresholding, renumber=False, block=block)
        np.testing.assert_array_equal(labels, expected)
        assert labels.dtype == np.uint64


@given(case=map_cases(), data=st.data())
@settings(max_examples=settings().max_examples * 4)
def test_drawn_maps_in_blocks_have_scipys_labels(case: MapCase, data: st.DataObject) -> None:
    note(f"{case.prob.shape} {case.block} {case.thresholding} {case.connectivity} {case.renumber}")
    if data.draw(st.booleans(), "sliced"):
        array = as_array(memory_volume(case.prob, "tczyx"))
    else:
        chunks = [data.draw(st.integers(1, n)) for n in case.prob.shape]
        array = xarray.DataArray(case.prob, dims=list("tczyx")).chunk(dict(zip("tczyx", chunks, strict=True)))
    labels = label_lazily(
        array,
        case.thresholding,
        connectivity=case.connectivity,
        renumber=case.renumber,
        block=(1, *case.block),
    )
    np.testing.assert_array_equal(labels, case.expect())


@pytest.fixture(scope="module")
def prob() -> xarray.DataArray:
    """Two named classes, (c, z, y, x)."""
    noise = ndimage.gaussian_filter(np.random.default_rng(3).random((20, 30, 34)), 1.5)
    nucleus = ((noise - noise.min()) / (noise.max() - noise.min())).astype(np.float32)
    coords = {"c": ["Nucleus", "Rest"], "z": np.arange(20) * 0.5}
    return xarray.DataArray(np.stack([nucleus, 1 - nucleus]), dims=list("czyx"), coords=coords, attrs={"units": "um"})


def test_defaults_names_and_coordinates(prob: xarray.DataArray) -> None:
    labels = segment(prob.chunk({"z": 7, "y": 13}), channel="Nucleus")
    np.testing.assert_array_equal(labels, label_slowly(prob.values, Thresholding()))
    assert labels.dims == ("z", "y", "x")
    assert set(labels.coords) == {"z"}
    assert labels.name == "labels"
    assert labels.attrs["units"] == "um"
    assert "threshold 0.5" in labels.attrs["thresholding"]


def test_settings_by_their_words(prob: xarray.DataArray) -> None:
    got = segment(
        prob, channel="Nucleus", core_channel=1, high=0.4, low=1.0, sigma={"z": 0.5}, min_size=3, max_size=4000
    )
    used = Thresholding("hysteresis", 0, 1, 1.0, 0.4, (0.5, 1.0, 1.0), 3, 4000)
    np.testing.assert_array_equal(got, label_slowly(prob.values, used))
    got = segment(prob, channel=0, high=0.7, sigma=(0, 0, 0), renumber=False, connectivity="full")
    used = Thresholding("hysteresis", high=0.7, sigma_zyx=(0.0, 0.0, 0.0))
    np.testing.assert_array_equal(got, label_slowly(prob.values, used, "full", renumber=False))


def test_planes_without_channels_and_any_order_of_dims(prob: xarray.DataArray) -> None:
    plane = prob.sel(c="Nucleus", drop=True).isel(z=4, drop=True)
    expected = label_slowly(plane.values[None, None], Thresholding())[0]
    labels = segment(plane.transpose("x", "y").chunk({"x": 11}))
    assert labels.dims == ("y", "x")
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_mean_0_to_1(prob: xarray.DataArray, dtype: str) -> None:
    most = np.iinfo(dtype).max
    stored = (prob * most).round().astype(dtype)
    used = Thresholding(drange=(0.0, float(most)))
    np.testing.assert_array_equal(segment(stored), label_slowly(stored.values, used))


def test_a_prediction_is_segmented_with_one_task_a_block(golden_dir: Path) -> None:
    project = open_project(golden_dir / "projects" / "pc_3d.ilp")
    raw = open_volume(golden_dir / "in_3d_u8.npy", axes="zyx")
    with patch("pipeline.prediction.predict_block", side_effect=AssertionError("computed too early")):
        prob = predict(raw, project)
        labels = label_lazily(prob, Thresholding(channel=1, min_size=3), block=(1, 16, 16, 16))
    expected = label_slowly(
        np.load(golden_dir / "probabilities.npz")["prob_pc_3d"].transpose(3, 0, 1, 2),
        Thresholding(channel=1, min_size=3),
    )
    np.testing.assert_array_equal(labels, expected)
    n, merges = 27, 1
    assert len(labels.data.__dask_graph__()) == 2 * n + merges + 2  # and the plan and the source
    part = labels.isel(z=3, y=slice(0, 5))
    np.testing.assert_array_equal(part, expected[3, :5])
    graph = part.data.__dask_optimize__(part.data.dask, part.data.__dask_keys__())
    renamed = [key for key in graph if str(key[0]).startswith("labels")]
    assert len(renamed) <= 2 * 3


def test_nothing_is_labelled_before_it_is_asked_for(prob: xarray.DataArray) -> None:
    with patch.object(label_graph, "label_block", side_effect=AssertionError("labelled too early")):
        labels = segment(prob.chunk({"y": 10}))
        with pytest.raises(AssertionError, match="too early"):
            labels.compute()


def test_the_name_tells_settings_and_data_apart(prob: xarray.DataArray) -> None:
    lazy = prob.chunk({"y": 10})
    names = {segment(lazy, threshold=t, renumber=r).data.name for t in (0.4, 0.5) for r in (True, False)}
    assert len(names) == 4
    assert segment(lazy, threshold=0.4).data.name in names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channel": "Nucleos"}, r"no channel 'Nucleos'; there are: 0 Nucleus, 1 Rest; did you mean Nucleus\?"),
        ({"channel": 2}, "no channel '2'; there are: 0 Nucleus, 1 Rest"),
        ({"threshold": 0.5, "high": 0.7}, "give one or the other"),
        ({"core_channel": 1}, "a core channel is for hysteresis"),
        ({"low": 0.9, "high": 0.7}, "low threshold 0.9 is above the high one, 0.7"),
        ({"min_size": -1}, "min_size is -1; it must be >= 0"),
        ({"min_size": 9, "max_size": 5}, "min_size 9 is above max_size 5"),
        ({"sigma": -1}, "sigma is"),
        ({"sigma": (1, 2)}, "give one number, or three for z, y, x"),
        ({"sigma": {"c": 1.0}}, "sigma names the axes c; allowed are z, y, x"),
        ({"sigma": 30}, "needs more than 60"),
        ({"connectivity": "edge"}, "connectivity 'edge'; allowed are face and full"),
        ({"threshold": float("nan")}, "low threshold is nan"),
    ],
)
def test_refusals(prob: xarray.DataArray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        segment(prob, **options)


def test_refusals_of_arrays(prob: xarray.DataArray) -> None:
    with pytest.raises(PlanError, match="dims c, z, y, q; allowed are t, c, z, y, x"):
        segment(prob.rename(x="q"))
    with pytest.raises(PlanError, match="dtype complex64; allowed are"):
        segment(prob.astype("complex64"))
