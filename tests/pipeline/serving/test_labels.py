"""The labels layer: frame by frame on request, from a run of `segment`, or a sentence that says which run is needed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import BusyError, CatalogueError, ConflictError, GoneError, WriteError
from pipeline.labelling import label_frame
from pipeline.probability_map import predicted_map
from pipeline.progress import Progress
from pipeline.segmentation_run import SegmentationRequest, segment_volume
from pipeline.serving import catalogue, label_layers
from pipeline.serving.catalogue import Catalogue, ServedVolume
from pipeline.serving.engine import Engine
from pipeline.serving.label_frames import LOCKS
from pipeline.serving.label_layers import find_labels
from pipeline.thresholding import Thresholding
from tests.pipeline.serving.conftest import Limit
from tests.served import corners, make_catalogue, predicted_levels, read_whole

# In noise, few voxels are likely to be of a class, and those that are lie apart: by default there are no objects.
EASY = Thresholding(low=0.4, min_size=3)


@pytest.fixture(autouse=True)
def easy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find objects even in noise."""
    monkeypatch.setattr(label_layers, "project_thresholding", lambda project: EASY)


@pytest.fixture
def data_dir(tmp_path: Path, limit: Limit) -> Path:
    """Where the server keeps its data."""
    limit("data_dir", tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("axes", ["yx", "tyx", "czyx", "tczyx"])
def test_frames_are_labelled_when_asked_for(axes: str, tmp_path: Path, data_dir: Path) -> None:
    catalogue = make_catalogue(tmp_path, axes)
    labels, probabilities = (catalogue.layer("raw", name) for name in ("labels", "probabilities"))
    assert labels.dims == axes.replace("c", "")
    assert labels.dtype == np.uint64
    engine = Engine(catalogue, workers=2)
    try:
        frames = engine.read(probabilities, 0, *corners(probabilities, 0))
        frames = frames if "t" in axes else frames[None]
        expected = [label_frame(f if "z" in axes else f[:, None], EASY)[0] for f in frames]
        assert all(frame.max() > 5 for frame in expected)
        shape = labels.levels[0].shape
        whole = np.stack(expected).reshape(shape)
        with ThreadPoolExecutor(4) as threads:
            for found in threads.map(lambda _: engine.read(labels, 0, *corners(labels, 0)), range(4)):
                np.testing.assert_array_equal(found, whole)
        for level in labels.levels[1:]:
            strided = whole[tuple(slice(None, None, f) for f in level.factors)]
            np.testing.assert_array_equal(engine.read(labels, level.index, *corners(labels, level.index)), strided)
    finally:
        engine.close()
    assert {path.suffix for path in (data_dir / "labels").iterdir()} == {".npy", ".lock"}
    again = Engine(catalogue, workers=1)
    np.testing.assert_array_equal(again.read(labels, 0, *corners(labels, 0)), whole)
    assert not again.ready()  # it was there, nothing had to be computed


def test_frames_that_nobody_asks_for_go_first(tmp_path: Path, data_dir: Path, limit: Limit) -> None:
    layer = make_catalogue(tmp_path, "tyx").layer("raw", "labels")
    frame_bytes = 45 * 66 * 8 + 128
    limit("label_cache", 2 * frame_bytes)
    engine = Engine(Catalogue([layer.volume], {"pc": layer.project}), workers=1)  # type: ignore[dict-item]

    def read(t: int) -> None:
        engine.read(layer, 0, (t, 0, 0), (t + 1, 45, 66))
        time.sleep(0.02)  # so that times of files differ

    def kept() -> set[str]:
        return {path.stem.rpartition("-")[2] for path in (data_dir / "labels").glob("*.npy")}

    try:
        read(0)
        (data_dir / "labels" / "0-9.work").mkdir()  # of a process that was killed
        read(1)
        assert kept() == {"0", "1"}
        read(0)
        read(2)
        assert kept() == {"0", "2"}
        read(1)
        assert kept() == {"1", "2"}
        limit("label_cache", 0)
        again = Engine(engine.catalogue, workers=1)
        again.read(layer, 0, (0, 0, 0), (3, 45, 66))
        again.close()
        assert kept() == {"2"}  # the last one stays: it is being read
        assert not list((data_dir / "labels").glob("*.work"))
    finally:
        engine.close()


def test_a_full_disk_is_said(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    catalogue = make_catalogue(tmp_path, "yx")
    engine = Engine(catalogue, workers=1)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_fallocate", refuse)
            with pytest.raises(WriteError, match="No space left"):
                read_whole(engine, catalogue.layer("raw", "labels"))
        assert {path.suffix for path in (data_dir / "labels").iterdir()} == {".lock"}
        assert read_whole(engine, catalogue.layer("raw", "labels")).max() > 0
    finally:
        engine.close()


def test_who_waits_too_long_for_a_frame_is_told_to_come_again(tmp_path: Path, data_dir: Path, limit: Limit) -> None:
    limit("request_seconds", 0.3)
    catalogue = make_catalogue(tmp_path, "yx")
    layer, engine = catalogue.layer("raw", "labels"), Engine(catalogue, workers=1)
    (data_dir / "labels").mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        for number in range(LOCKS):  # somebody else is at every frame
            file = stack.enter_context((data_dir / "labels" / f"{number:02d}.lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match=r"within 0\.3 s"):
            read_whole(engine, layer)


def test_large_frames_name_the_run_that_is_needed(tmp_path: Path, limit: Limit) -> None:
    limit("label_frame_voxels", 1000)
    catalogue = make_catalogue(tmp_path, "zyx")
    assert "labels" not in [layer.name for layer in catalogue.layers("raw")]
    with pytest.raises(ConflictError, match=r"75,850 voxels, up to 1,000 .* voxelforest segment PROJECT RAW OUT\.zarr"):
        catalogue.layer("raw", "labels")


def test_labels_of_a_run_are_served(tmp_path: Path, limit: Limit, data_dir: Path) -> None:

    limit("label_frame_voxels", 1)
    made = make_catalogue(tmp_path, "zyx")
    served, project = made.first, made.projects["pc"]
    source = predicted_map(project, served.volume)
    segment_volume(SegmentationRequest(source, tmp_path / "objects.zarr", EASY), Progress())
    labels = find_labels(str(tmp_path / "objects.zarr"), served.volume)
    catalogue = Catalogue([ServedVolume("raw", served.volume, ("pc",), labels=(labels,))], {"pc": project})
    layer = catalogue.layer("raw", "labels")
    engine = Engine(catalogue, workers=2)
    try:
        probabilities = engine.read(catalogue.layer("raw", "probabilities"), 0, (0, 0, 0, 0), (3, 37, 50, 41))
        expected, _ = label_frame(probabilities, EASY)
        assert expected.max() > 5
        for level in layer.levels:
            found = engine.read(layer, level.index, *corners(layer, level.index))
            np.testing.assert_array_equal(found, expected[tuple(slice(None, None, f) for f in level.factors)])
    finally:
        engine.close()
    assert len(layer.levels) == 3


def test_outputs_that_hold_no_objects_of_this_volume_are_refused(tmp_path: Path) -> None:
    catalogue = make_catalogue(tmp_path, "zyx")
    predicted_levels(catalogue, tmp_path)
    with pytest.raises(CatalogueError, match="labels/objects"):
        find_labels(str(tmp_path / "out.zarr"), catalogue.first.volume)
    (tmp_path / "other").mkdir()
    other = make_catalogue(tmp_path / "other", "zyx").first.volume
    with pytest.raises(CatalogueError, match="objects of another volume"):
        find_labels(str(tmp_path / "out.zarr"), other)


def test_finished_runs_are_found_without_being_named(
    tmp_path: Path, limit: Limit, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "LOOK_SECONDS", 0.0)
    limit("label_frame_voxels", 1)
    made = make_catalogue(tmp_path, "yx")
    runs, project = tmp_path / "runs", made.projects["pc"]
    served = replace(made.first, folders=(str(tmp_path / "none"), str(runs)))
    serving = Catalogue([served], {"pc": project})
    with pytest.raises(ConflictError, match="beside the volume"):
        serving.layer("raw", "labels")

    def segment(name: str, thresholding: Thresholding) -> str:
        source = predicted_map(project, served.volume)
        segment_volume(SegmentationRequest(source, runs / name, thresholding), Progress())
        (chosen,) = {layer.digest for layer in serving.layers("raw") if layer.name == "labels"}
        return chosen

    runs.mkdir()
    first = segment("first.zarr", EASY)
    second = segment("second.zarr", Thresholding(low=0.3, min_size=1))
    assert second != first
    assert serving.by_digest("raw", "labels", second).digest == second
    (runs / "second.zarr").rename(tmp_path / "away.zarr")
    (runs / "link.zarr").symlink_to(tmp_path / "away.zarr")  # links are not followed
    assert serving.layer("raw", "labels").digest == first
    with pytest.raises(GoneError):
        serving.by_digest("raw", "labels", second)
    limit("found_runs", 0)
    with pytest.raises(ConflictError):
        serving.layer("raw", "labels")
