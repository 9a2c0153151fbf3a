"""Both synapse pipelines against the answers of the plain reference, whatever the blocks; the published model."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline.analyses import detection, synapse_files, synapse_stages
from pipeline.analyses.boxes import has_cube, is_measurable
from pipeline.analyses.channels import ChannelSet
from pipeline.analyses.classification import relabel_as_original
from pipeline.analyses.detection import keep_from
from pipeline.analyses.intensity import to_bytes
from pipeline.analyses.model import build_model
from pipeline.analyses.original import OriginalMap
from pipeline.analyses.result import AnalysisResult
from pipeline.analyses.statistics import Moments, Pair
from pipeline.labelling import label_frame, plan_labels
from tests.synapses import read, run, score_planes, sums_of

Arrays = dict[str, Any]
CASES = [(dtype, legacy) for dtype in ("uint8", "uint16") for legacy in (False, True)]
CLASSES = ("edge", "non-GABA", "GABA")
EXAMPLES = 200 if settings().max_examples > 25 else 2  # of a second or two each
SHAPE = (24, 48, 48)


@cache
def golden(folder: Path, name: str) -> Arrays:
    """The arrays of a file."""
    with np.load(folder / f"golden_{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def channels(folder: Path, dtype: str) -> Arrays:
    """The input in its order."""
    given_ = golden(folder, f"input_{dtype}")
    return {str(name): given_[str(name)] for name in given_["channel_order"]}


@pytest.fixture
def model(nomads_dir: Path, tmp_path: Path) -> Path:
    """The published classifier as a file."""
    with np.load(nomads_dir / "forest.npz", allow_pickle=False) as file:
        trees = {name: file[name] for name in file.files}
    path = tmp_path / "model.npz"
    build_model(np.load(nomads_dir / "components.npy", allow_pickle=False), trees).write(path)
    return path


def check(result: AnalysisResult, expected: Arrays, *, inclusive: bool = False) -> None:
    """Assert that all of a result is as the reference has it."""
    folder, table = result.folder, result.table
    assert np.array_equal(read(folder, "detections.zarr/labels/objects"), expected["labels"])
    assert np.array_equal(read(folder, "detections.zarr"), expected["result"])
    for image, key in (("gaba.zarr", "gaba"), ("non_gaba.zarr", "non_gaba")):
        assert np.array_equal(read(folder, image), np.where(expected[key], 255, 0))
    shown = 1 * expected["edge"] + 2 * expected["non_gaba"] + 3 * expected["gaba"]
    assert np.array_equal(read(folder, "classes.zarr"), shown)
    assert np.array_equal(table[["z", "y", "x"]], expected["centroids"])
    assert np.array_equal(table["measurable"], expected["measurable"])
    assert list(table["class"]) == [CLASSES[k] for k in expected["classes"]]
    sums = sums_of(table[table["measurable"]])
    assert list(sums) == [str(name) for name in expected["measurement_channels"]]
    wanted = expected["measurements_inclusive" if inclusive else "measurements"]
    np.testing.assert_allclose(np.array(list(sums.values())).T, wanted, rtol=1e-9, atol=1e-9)
    said = json.loads((folder / "provenance.json").read_text())["detection"]
    assert said["channels"] == [str(name) for name in expected["detection_channels"]]
    assert said["threshold"] == pytest.approx(float(expected["otsu"]), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("dtype", "legacy"), CASES)
def test_golden(nomads_dir: Path, model: Path, tmp_path: Path, dtype: str, legacy: bool, small_blocks: None) -> None:
    options = {"model": model, "legacy": legacy, "inclusive": dtype == "uint8"}
    result = run(channels(nomads_dir, dtype), tmp_path / "out", "nomads-classifier", **options)
    expected = golden(nomads_dir, f"{dtype}_{'legacy' if legacy else 'corrected'}")
    check(result, expected, inclusive=dtype == "uint8")
    assert result.volumes == {"All": "detections.zarr", "NonGaba": "non_gaba.zarr", "Gaba": "gaba.zarr"}


@pytest.mark.parametrize(("dtype", "legacy"), CASES)
def test_values_before_the_threshold(nomads_dir: Path, dtype: str, legacy: bool) -> None:
    expected = golden(nomads_dir, f"{dtype}_{'legacy' if legacy else 'corrected'}")
    given_ = ChannelSet.of(channels(nomads_dir, dtype))
    pair = Pair(given_, tuple(str(name) for name in expected["detection_channels"]))
    moments = []
    for name in pair.names:
        values = to_bytes(given_.read(name, given_.whole)).astype(np.int64)
        moments.append(Moments(values.size, int(values.sum()), int((values**2).sum())))
    made = OriginalMap if legacy else detection.CovarianceMap
    work = made(pair, (moments[0], moments[1]))
    found = np.vectorize(work.value, otypes=[float])(work.read(given_.whole))
    np.testing.assert_allclose(found, expected["covariance"], rtol=1e-9, atol=1e-9)
    plan = plan_labels(given_.whole, given_.whole.shape, keep_from(1), connectivity="full")
    assert plan.n_blocks == 1
    foreground = found > float(expected["otsu"])
    labels, _ = label_frame(foreground[None].astype(np.uint8), keep_from(1), connectivity="full")
    assert np.array_equal(labels, expected["components_before_filter"])


edges = st.tuples(st.integers(7, SHAPE[0]), st.integers(15, SHAPE[1]), st.integers(15, SHAPE[2]))


@settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.generate],  # each example is a whole run: looking for a smaller one takes minutes
    suppress_health_check=[*settings().suppress_health_check, HealthCheck.function_scoped_fixture],
)
@given(case=st.sampled_from(CASES), block=edges, chunk=edges)
def test_drawn_blocks_and_chunks_change_nothing(
    nomads_dir: Path, case: tuple[str, bool], block: tuple[int, int, int], chunk: tuple[int, int, int]
) -> None:
    dtype, legacy = case
    folder = nomads_dir
    expected = golden(folder, f"{dtype}_{'legacy' if legacy else 'corrected'}")
    given_ = channels(folder, dtype)
    for name in map(str, expected["detection_channels"]):  # the others would only take more time
        lazy = dask.array.from_array(given_[name], chunks=chunk)
        given_[name] = xarray.DataArray(lazy, dims=list("zyx"))
    with np.load(folder / "forest.npz", allow_pickle=False) as file:
        trees = {name: file[name] for name in file.files}
    with TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        path = Path(place) / "model.npz"
        build_model(np.load(folder / "components.npy", allow_pickle=False), trees).write(path)
        for module in (synapse_stages, synapse_files):
            patch.setattr(module, "choose_chunk", lambda shape, voxels: (1, *block))
        patch.setattr(synapse_stages, "choose_block", lambda image, chunk, *_, **__: chunk)
        result = run(given_, Path(place) / "out", "nomads-classifier", model=path, legacy=legacy)
        check(result, expected)


def test_small_cases(nomads_dir: Path) -> None:
    units = golden(nomads_dir, "units")
    assert np.array_equal(to_bytes(np.arange(65536, dtype=np.uint16)), units["uint16_to_uint8"])
    assert np.array_equal(is_measurable(units["measurable_points"], SHAPE), units["measurable"])
    assert np.array_equal(has_cube(units["cube_points"], SHAPE, (7, 4, 4)), units["cube_inside"])
    corner = label_frame(units["corner_mask"][None].astype(np.uint8), keep_from(1), connectivity="full")[0]
    assert np.array_equal(corner, units["corner_labels"])
    sizes = label_frame((units["size_labels"] > 0)[None].astype(np.uint8), keep_from(31), connectivity="full")[0]
    assert np.array_equal(sizes > 0, units["size_mask"])
    assert np.array_equal(score_planes(units["slice_input"], legacy=True), units["slice_zscore_legacy"])


@pytest.mark.parametrize("case", range(6))
def test_relabelling_loop_of_the_original(nomads_dir: Path, case: int) -> None:
    units = golden(nomads_dir, "units")
    inside, predictions = units[f"relabel{case}_ok"], units[f"relabel{case}_pred"]
    classes = np.zeros(len(inside), np.int64)
    classes[inside != 0] = predictions + 1
    assert np.array_equal(classes, units[f"relabel{case}_corrected"])
    assert np.array_equal(relabel_as_original(classes), units[f"relabel{case}_legacy"])
