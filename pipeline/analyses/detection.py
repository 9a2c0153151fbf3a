"""Detections: the threshold of the map, the mask that it gives, and the objects in it.

Otsu's method over 256 equal bins, computed with whole numbers: the bins are cut over the integer codes of
`pipeline.analyses.statistics`, the variance between classes is compared as fractions, and the threshold is a fraction
of which only the integer part matters, since codes are integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from numba_ops import boxes
from numba_ops._jit import freeze
from pipeline.analyses.result import OBJECTS
from pipeline.analyses.statistics import BOX_VOXELS, FOLDER_FILES, Codes, Moments, Pair
from pipeline.blocks import Box
from pipeline.label_records import Record, write_record
from pipeline.result_images import corners, place
from pipeline.store import Store
from pipeline.thresholding import Thresholding

BINS = 256
COUNTS, ENDS = "counts", "ends"
MASK = "detections"  # the image of 0 and 255
LARGEST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Threshold:
    """A threshold: voxels are foreground whose values are above.

    Parameters
    ----------
    above : int or float
        To be compared with.
    centre : float
        Centre of the bin that was found, as a value of the map.
    """

    above: float
    centre: float


class Map(Protocol):
    """What is thresholded; picklable."""

    @property
    def pair(self) -> Pair: ...
    def read(self, box: Box) -> npt.NDArray[Any]: ...
    def count(self, values: npt.NDArray[Any], low: Any, high: Any) -> npt.NDArray[np.int64]: ...
    def find_threshold(self, low: Any, high: Any, counts: Sequence[int]) -> Threshold: ...
    def value(self, code: float) -> float: ...


@dataclass(frozen=True, eq=False)
class MeasuredPair:
    """What a map is made of.

    Parameters
    ----------
    pair : Pair
    moments : tuple of Moments
        Of both channels.
    """

    pair: Pair
    moments: tuple[Moments, Moments]


class CovarianceMap(MeasuredPair):
    """Covariances as integer codes."""

    def read(self, box: Box) -> Codes:
        """Codes of a box, (z, y, x)."""
        return self.pair.read_codes(box)

    def count(self, values: Codes, low: int, high: int) -> npt.NDArray[np.int64]:
        """Histogram of codes over ``low .. high``."""
        counts = np.zeros(BINS, np.int64)
        boxes.count_bins(freeze(values.reshape(-1)), low, high - low, counts)
        return counts

    def find_threshold(self, low: int, high: int, counts: Sequence[int]) -> Threshold:
        """Otsu's threshold; the one value if there is one alone, above which there is nothing."""
        code = Fraction(low)
        if low != high:
            code += Fraction((2 * otsu_bin(counts) + 1) * (high - low), 2 * BINS)
        # For integers, to be above a fraction is to be above the integer below it.
        return Threshold(code.numerator // code.denominator, self.value(float(code)))

    def value(self, code: float) -> float:
        """The covariance that a code stands for."""
        first, second = self.moments
        return code / (BOX_VOXELS**2 * first.deviation * second.deviation)


def histogram_path(folder: Path, number: int) -> Path:
    """The record of a block."""
    return folder / str(number // FOLDER_FILES) / f"{number}.bins"


def bin_block(work: Map, folder: Path, low: Any, high: Any, item: tuple[int, Box]) -> None:
    """The task: histogram of a block's values over ``low .. high``, written down."""
    number, box = item
    write_record(histogram_path(folder, number), {COUNTS: work.count(work.read(box), low, high)})


def range_path(folder: Path, number: int) -> Path:
    """The record of a block."""
    return folder / str(number // FOLDER_FILES) / f"{number}.range"


def range_block(work: Map, folder: Path, item: tuple[int, Box]) -> None:
    """The task: smallest and largest value of a block, written down."""
    number, box = item
    values = work.read(box)
    write_record(range_path(folder, number), {ENDS: np.array([values.min(), values.max()])})


def join_ranges(folder: Path, numbers: Iterable[int]) -> tuple[float, float]:
    """Smallest and largest value of the volume from the records of all its blocks."""
    ends = np.array([Record(range_path(folder, number))[ENDS] for number in numbers])
    return float(ends[:, 0].min()), float(ends[:, 1].max())


def join_histograms(folder: Path, numbers: Iterable[int]) -> list[int]:
    """The histogram of the volume from the records of all its blocks."""
    total = np.zeros(BINS, np.int64)
    for number in numbers:
        total += Record(histogram_path(folder, number))[COUNTS]
    return [int(n) for n in total]


def otsu_bin(counts: Sequence[int]) -> int:
    """The bin whose centre parts the counts into two classes of largest variance between them, the first if several.

    Parameters
    ----------
    counts : sequence of int
        Of equal bins; the first and the last are not empty.

    Notes
    -----
    With weights w and sums of positions s of the two classes the variance is ``(s1 w2 - s2 w1)^2 / (w1 w2)``, the
    same up to a factor as scikit-image's `threshold_otsu`, which adds in single precision.
    """
    weight, position = sum(counts), sum(k * n for k, n in enumerate(counts))
    best, at, below, sum_below = Fraction(-1), 0, 0, 0
    for k, n in enumerate(counts[:-1]):
        below, sum_below = below + n, sum_below + k * n
        above = weight - below
        variance = Fraction((sum_below * above - (position - sum_below) * below) ** 2, below * above)
        if variance > best:
            best, at = variance, k
    return at


@dataclass(frozen=True, eq=False)
class Foreground:
    """The thresholded map, as what objects are labelled from; picklable."""

    work: Map
    above: float

    def read(self, box: Box) -> npt.NDArray[np.uint8]:
        """0 or 1, (t, c, z, y, x)."""
        return (self.work.read(box) > self.above).view(np.uint8)[np.newaxis, np.newaxis]


def keep_from(size: int) -> Thresholding:
    """How the foreground becomes objects: of at least so many voxels, nothing smoothed."""
    return Thresholding(low=0.5, sigma_zyx=(0.0, 0.0, 0.0), min_size=size, max_size=int(LARGEST))


@dataclass(frozen=True, eq=False)
class DetectionWriter:
    """Puts the objects of a block in their place, and the mask that they make; picklable."""

    store: Store
    image: Box

    def __call__(self, box: Box, labels: npt.NDArray[np.uint64]) -> None:
        """Write labels (t, z, y, x)."""
        mask = np.where(labels != 0, np.uint8(255), np.uint8(0))
        for name, values in ((MASK, mask), (OBJECTS, labels)):
            write_image(self.store, name, box, self.image, values)

    def is_written(self, box: Box) -> bool:
        """Whether both are in place."""
        return all(has_image(self.store, name, box, self.image) for name in (MASK, OBJECTS))


def write_image(store: Store, name: str, box: Box, image: Box, values: npt.NDArray[Any]) -> None:
    """Write a block of an image without channels, (t, z, y, x)."""
    spec = store.image(name)
    start, part = place(spec, values.astype(spec.dtype, copy=False), box, image)
    store.write(name, start, np.ascontiguousarray(part))


def has_image(store: Store, name: str, box: Box, image: Box) -> bool:
    """Whether a block of an image is in place."""
    return store.is_written(name, *corners(store.image(name), box, image))
