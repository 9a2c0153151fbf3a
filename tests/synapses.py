"""What the two synapse pipelines compute, in memory and in plain words, and scenes to compute it on.

Written from reference/nomads/SEMANTICS with NumPy, SciPy and scikit-image alone; clarity before speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas
import zarr
from scipy import ndimage
from skimage.filters import threshold_otsu

from pipeline.analyses import get
from pipeline.analyses.channels import ChannelSet
from pipeline.analyses.result import AnalysisResult

Array = npt.NDArray[Any]
Volumes = Mapping[str, Array]
SHAPE = (20, 40, 44)
NAMES = ("DAPI", "synapsin_a", "PSD95_b", "annotation")
FULL = np.ones((3, 3, 3), bool)
HALF = np.array([2, 5, 5])


def scene(dtype: str = "uint8", seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> dict[str, Array]:
    """Noise with blobs that two channels share, one that only one has, and an annotation."""
    rng = np.random.default_rng(seed)
    top = int(np.iinfo(dtype).max)
    amounts = {name: rng.integers(0, 12, shape).astype(float) for name in NAMES}
    labels = np.zeros(shape, np.uint64)
    grid = np.indices(shape)
    for number in range(1, 13):
        centre = [rng.integers(0, n) for n in shape]
        inside = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, (2.5, 3.5, 3.5), strict=True)) <= 1
        for name in ("synapsin_a", "PSD95_b") if number > 1 else ("PSD95_b",):
            amounts[name] += inside * rng.integers(90, 200)
        labels[inside] = number
    scaled = {name: (v.clip(0, 255) / 255 * top * 0.999).astype(dtype) for name, v in amounts.items()}
    return {**scaled, "annotation": labels}


@dataclass(frozen=True)
class Expected:
    """What is found in memory."""

    values: Array
    threshold: float
    labels: Array
    places: Array
    measurable: Array
    sums: dict[str, Array]


def to_bytes(volume: Array) -> Array:
    """The scale of 8 bits."""
    if volume.dtype == np.uint8:
        return volume
    return (255 * (volume.astype(np.float64) / np.iinfo(volume.dtype).max)).astype(np.uint8)


def score_planes(volume: Array, legacy: bool) -> Array:
    """z-scores of each plane; with `legacy` back in the volume's type."""
    values = volume.astype(np.float64)
    mean, deviation = values.mean(axis=(1, 2), keepdims=True), values.std(axis=(1, 2), keepdims=True)
    scores = np.divide(values - mean, deviation, out=np.zeros_like(values), where=deviation > 0)
    return np.trunc(scores).astype(np.int64).astype(volume.dtype) if legacy else scores


def expect(volumes: Volumes, *, legacy: bool = False, inclusive: bool = False, min_size: int = 31) -> Expected:
    """Detections and their measurements."""
    wanted = ("synapsin_a", "PSD95_b") if legacy else ("PSD95_b", "synapsin_a")
    a, b = (to_bytes(volumes[name]).astype(np.float64) for name in wanted)
    a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()

    def mean(values: Array) -> Array:
        return ndimage.convolve(values, np.ones((3, 3, 3)) / 27, mode="reflect")

    found = mean(a + b) - mean(a) + mean(b) if legacy else mean(a * b) - mean(a) * mean(b)
    threshold = float(threshold_otsu(found, nbins=256))
    every, _ = ndimage.label(found > threshold, FULL)
    kept = np.bincount(every.reshape(-1)) >= min_size
    kept[0] = False
    labels, n = ndimage.label(kept[every], FULL)
    places = np.array([np.argwhere(labels == i).mean(axis=0).astype(int) for i in range(1, n + 1)]).reshape(-1, 3)
    measurable = ((places >= HALF) & (places + HALF < a.shape)).all(axis=1)
    sums = {}
    for name, volume in volumes.items():
        scores = volume if name == "annotation" else score_planes(volume, legacy)
        boxes = [tuple(slice(p - h, p + h + inclusive) for p, h in zip(place, HALF, strict=True)) for place in places]
        found_here = zip(boxes, measurable, strict=True)
        sums[name] = np.array([float(scores[box].sum()) if ok else np.nan for box, ok in found_here])
    return Expected(found, threshold, labels, places, measurable, sums)


def run(volumes: Any, out: Path | None, name: str = "nomads-unsupervised", **options: Any) -> AnalysisResult:
    """An analysis on two threads."""
    return get(name)(ChannelSet.of(volumes), out, **{"workers": 2, **options})


def read(folder: Path, image: str) -> Array:
    """The finest level of an image of a result, or of its labels."""
    return np.asarray(zarr.open_array(folder / image / "0", mode="r")[:])


def sums_of(table: pandas.DataFrame) -> dict[str, Array]:
    """The measured columns by channel."""
    return {name.removeprefix("sum_"): table[name].to_numpy() for name in table if name.startswith("sum_")}


def check(result: AnalysisResult, expected: Expected) -> None:
    """Assert that a result is what was expected: integers equal, sums within 1e-9."""
    assert np.array_equal(read(result.folder, "detections.zarr/labels/objects"), expected.labels)
    assert np.array_equal(read(result.folder, "detections.zarr"), np.where(expected.labels > 0, 255, 0))
    table = result.table
    assert result.objects == len(table) == len(expected.places)
    assert np.array_equal(table[["z", "y", "x"]].to_numpy() - result.origin_zyx, expected.places)
    assert np.array_equal(table["size"], np.bincount(expected.labels.reshape(-1))[1:])
    assert np.array_equal(table["measurable"].to_numpy(bool), expected.measurable)
    measured = sums_of(table)
    for name, sums in expected.sums.items():
        if np.any(np.nan_to_num(sums) != 0) or not expected.measurable.any():
            np.testing.assert_allclose(measured.pop(name), sums, rtol=1e-9, atol=1e-9)
    assert not measured
