"""Maps of spheres, and labellings in processes of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from scipy import ndimage

from benchmarks import bench_labels, goals, tables
from benchmarks.label_probe import probe


def _read(path: Path) -> np.ndarray:
    return np.asarray(zarr.open_array(str(path), mode="r")[...])


def test_spheres_do_not_touch_and_chunks_do_not_cut_them(tmp_path: Path) -> None:
    whole = _read(bench_labels.write_spheres(tmp_path / "a.zarr", (40, 50, 60), 64))
    assert ndimage.label(whole, np.ones((3, 3, 3)))[1] == 2 * 3 * 4
    assert set(np.unique(whole)) == {0, 255}
    np.testing.assert_array_equal(_read(bench_labels.write_spheres(tmp_path / "b.zarr", (40, 50, 60), 16)), whole)
    some = _read(bench_labels.write_spheres(tmp_path / "c.zarr", (40, 50, 60), 64, 7))
    assert ndimage.label(some)[1] == 7


@pytest.mark.parametrize("way", ["threads", "lazy"])
def test_labellings_are_those_of_the_whole(way: str, tmp_path: Path) -> None:
    volume = bench_labels.write_spheres(tmp_path / "map.zarr", (20, 30, 40), 8)
    found = probe(way, volume, tmp_path / "labels.zarr", 8, [0], None)
    assert found is not None
    expected, n = ndimage.label(_read(volume))
    np.testing.assert_array_equal(_read(tmp_path / "labels.zarr"), expected)
    assert found["objects"] == n
    assert found["peak"] >= found["base"] > 0


def test_a_labelling_that_takes_too_long_is_none(tmp_path: Path) -> None:
    assert probe("threads", tmp_path, tmp_path, 8, [0], 0.1) is None


def test_goals_and_words_of_a_result() -> None:
    run = {"seconds": 2.0, "peak": 300 << 20, "base": 200 << 20}
    row = {
        "shape": [8, 9, 10],
        "objects": 5,
        "runs": {"threads": run, "lazy": run, "dask-image": {**run, "seconds": 30}},
    }
    large = {
        "shape": [8, 9, 10],
        "objects": 1000,
        **run,
        "scratch": 1 << 20,
        "tasks": {"blocks": 64, "levels": 1, "label": 64, "relabel": 64, "merge-1": 2, "sort": 1},
    }
    found = {"ladder": [{**row, "peer_over_threads": 15.0, "peer_over_lazy": 15.0}], "large": large}
    assert [goal.verdict for goal in goals.list_goals({"labels": found})] == ["yes"] * 3
    text = tables.tell_labels(json.loads(json.dumps(found)))
    assert "| 8×9×10 | 5 | 30 | 2 | 2 | 15 | 15 | 300 | 300 |" in text
    assert "label 64, relabel 64, merge-1 2, sort 1" in text
    alone = {**row, "runs": {"threads": run, "lazy": run}, "peer_over_threads": None, "peer_over_lazy": None}
    assert "missing" in tables.tell_labels({**found, "ladder": [alone]})
