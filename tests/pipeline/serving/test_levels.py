"""Levels that are served equal those that a run writes, bit by bit, whole and in parts; which are exact, and when."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from pipeline.images import ImageSpec
from pipeline.serving.catalogue import Catalogue
from pipeline.serving.configuration import configure
from pipeline.serving.engine import Engine
from tests.models import predict_slowly
from tests.outputs import whole_levels
from tests.pipeline.serving.conftest import Limit
from tests.served import CASES, corners, make_catalogue, make_served, predicted_levels


@pytest.mark.parametrize("axes", CASES)
def test_all_levels_equal_those_of_a_run(axes: str, tmp_path: Path) -> None:
    catalogue = make_catalogue(tmp_path, axes)
    expected = predicted_levels(catalogue, tmp_path)
    rng = np.random.default_rng(0)
    engine = Engine(catalogue, workers=2)
    try:
        for layer in catalogue.layers("raw")[1:4]:
            assert [level.shape for level in layer.levels] == [values.shape for values in expected[layer.name]]
            assert all(level.exact for level in layer.levels)
            for level, values in reversed(list(enumerate(expected[layer.name]))):
                for _ in range(4):
                    low = [int(rng.integers(n)) for n in values.shape]
                    high = [int(rng.integers(a, n)) + 1 for a, n in zip(low, values.shape, strict=True)]
                    part = engine.read(layer, level, low, high)
                    assert part.dtype == values.dtype == layer.dtype
                    np.testing.assert_array_equal(part, values[tuple(map(slice, low, high))])
                np.testing.assert_array_equal(engine.read(layer, level, *corners(layer, level)), values)
    finally:
        engine.close()


@pytest.mark.parametrize(("axes", "dtype"), [*itertools.product(("zyx", "tczyx"), ("uint16", "float32")), ("yx", "?")])
def test_raw_levels_are_means_of_full_resolution(axes: str, dtype: str, tmp_path: Path) -> None:
    catalogue = make_catalogue(tmp_path, axes, dtype=dtype)
    layer = catalogue.layer("raw", "raw")
    values = np.load(tmp_path / "raw.npy").astype(layer.dtype)
    level = layer.levels[0]
    expected = whole_levels(ImageSpec("raw", axes, level.shape, level.chunk, str(layer.dtype)), values)
    engine = Engine(catalogue, workers=1)
    try:
        for each, array in zip(layer.levels, expected, strict=True):
            read = engine.read(layer, each.index, *corners(layer, each.index))
            assert each.exact
            assert read.dtype == layer.dtype
            np.testing.assert_array_equal(read, array)
    finally:
        engine.close()


def test_levels_that_cost_too_much_are_predicted_from_coarse_raw_data(tmp_path: Path, limit: Limit) -> None:
    limit("coarse_tile_voxels", 30_000)  # one chunk of 16^3 and its 7 neighbours cost 32,768
    catalogue = make_catalogue(tmp_path, "zyx", shape=(64, 60, 70))
    probabilities, segmentation = catalogue.layers("raw")[1:3]
    assert [level.exact for level in probabilities.levels] == [True, False, False, False]
    raw = catalogue.layer("raw", "raw")
    engine = Engine(catalogue, workers=2)
    try:
        for level in (1, 3):
            coarse = engine.read(raw, level, *corners(raw, level))
            expected, _ = predict_slowly(catalogue.projects["pc"], coarse[None, None])
            found = engine.read(probabilities, level, *corners(probabilities, level))
            np.testing.assert_allclose(found, expected[0], atol=1e-6)
            classes = engine.read(segmentation, level, *corners(segmentation, level))
            np.testing.assert_array_equal(classes, found.argmax(axis=0) + 1)
    finally:
        engine.close()


def test_what_is_exact_is_part_of_the_digest(tmp_path: Path, limit: Limit) -> None:
    served, project = make_served(tmp_path, "zyx", CASES["zyx"])

    def digest() -> str:
        return Catalogue([served], {"pc": project}).layer("raw", "probabilities").digest

    exact = digest()
    limit("cache_bytes", "123MiB")
    assert digest() == exact
    limit("coarse_tile_voxels", 1)
    assert digest() != exact


def test_levels_end_where_the_image_is_too_small_for_the_filters(tmp_path: Path, limit: Limit) -> None:
    limit("coarse_tile_voxels", 1)
    catalogue = make_catalogue(tmp_path, "zyx", shape=(17, 17, 80))
    levels = catalogue.layer("raw", "probabilities").levels
    assert len(levels) < len(catalogue.layer("raw", "raw").levels) + 1
    assert all(min(level.shape[1:]) > 2 for level in levels)


def test_raw_data_that_costs_too_much_comes_from_the_files_own_levels(tmp_path: Path, limit: Limit) -> None:
    source = make_catalogue(tmp_path, "zyx", shape=(40, 40, 40))
    levels = predicted_levels(source, tmp_path)["uncertainty"]
    limit("coarse_raw_voxels", 1)
    catalogue = Catalogue.open(configure(None, str(tmp_path / "out.zarr" / "uncertainty")))
    layer = catalogue.layer(catalogue.first.name, "raw")
    assert [level.exact for level in layer.levels] == [True] + [False] * (len(levels) - 1)
    engine = Engine(catalogue, workers=1)
    try:
        for level, values in enumerate(levels):
            np.testing.assert_array_equal(engine.read(layer, level, *corners(layer, level)), values)
    finally:
        engine.close()
    flat = Catalogue.open(configure(None, str(tmp_path / "raw.npy"), axes="zyx"))
    assert len(flat.layer("raw", "raw").levels) == 1
