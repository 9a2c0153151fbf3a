"""The graph of lazy labels: few tasks, from any chunks, that can travel."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import xarray

from pipeline.lazy_labels import label_lazily
from pipeline.thresholding import Thresholding
from pipeline.volume import as_array
from tests.models import memory_volume
from tests.objects import label_slowly

USED = Thresholding(low=0.55, min_size=4)


@pytest.fixture
def frames() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(2).random((2, 1, 16, 20, 24), np.float32)


@pytest.mark.parametrize("chunks", [{"z": (1, 15)}, {"y": (13, 7), "x": (2, 20, 2)}, {"t": 2, "z": 5}, {}])
def test_chunks_need_not_be_blocks(
    chunks: dict[str, tuple[int, ...]], frames: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> None:
    lazy = xarray.DataArray(frames, dims=list("tczyx")).chunk(chunks)
    labels = label_lazily(lazy, USED, block=(1, 7, 8, 9))
    assert labels.chunks == ((1, 1), (7, 7, 2), (8, 8, 4), (9, 9, 6))
    expected = np.stack([label_slowly(frame, USED) for frame in frames])
    np.testing.assert_array_equal(labels.compute(scheduler="sync"), expected)


def test_a_volume_is_read_once_a_block_with_its_halo(
    frames: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    volume = memory_volume(frames, "tczyx", chunks=(1, 1, 4, 4, 4))
    labels = label_lazily(as_array(volume), USED, block=(1, 8, 10, 12))
    blocks, merges = 2 * 8, 2
    assert len(labels.data.dask) == 2 * blocks + merges + 2  # and the plan and the volume
    labels.compute(scheduler="sync")
    boxes = volume.source.boxes  # type: ignore[attr-defined]
    assert len(boxes) == blocks
    assert max(np.prod(np.subtract(stop, start)) for start, stop in boxes) == 10 * 12 * 14


def test_tasks_can_travel(frames: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    lazy = xarray.DataArray(frames[0, 0], dims=list("zyx")).chunk(8)
    labels = label_lazily(lazy, USED, block=(1, 8, 8, 8)).data
    there = pickle.loads(pickle.dumps(labels))
    np.testing.assert_array_equal(there.compute(scheduler="sync"), label_slowly(frames[0], USED))
