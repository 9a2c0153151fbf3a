"""Statistics of whole channels from sums of integers, block by block: exact, so they do not depend on the blocks.

One pass over the data gives the sums of every plane of every channel, the sums over the two channels of detection on
the scale of 8 bits, and the smallest and largest value of the map that will be thresholded. All of these are integers:
the covariance of two channels in a box of 27 voxels is ``k / (729 * s_a * s_b)`` with the integer
``k = 27 * sum(ab) - sum(a) * sum(b)`` and the channels' standard deviations, since means drop out of a covariance. So
a threshold is a threshold on integers. The map of the original is `pipeline.analyses.original`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from numba_ops import boxes
from numba_ops._jit import freeze
from pipeline.analyses.channels import ChannelSet
from pipeline.analyses.intensity import to_bytes
from pipeline.blocks import Box
from pipeline.errors import ChannelError
from pipeline.label_records import Record, write_record

HALO = (1, 1, 1)
BOX_VOXELS = 27
FOLDER_FILES = 1000
PLANES, BYTES, ENDS = "planes", "bytes", "ends"

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Moments:
    """Mean and population standard deviation of integers.

    Parameters
    ----------
    count, total, squares : int
        How many, their sum, and that of their squares.
    """

    count: int
    total: int
    squares: int

    @property
    def mean(self) -> float:
        """Correctly rounded."""
        return self.total / self.count

    @property
    def deviation(self) -> float:
        """0 if and only if all are equal; the variance is correctly rounded."""
        return math.sqrt((self.count * self.squares - self.total**2) / self.count**2)


@dataclass(frozen=True, eq=False)
class Pair:
    """The two channels of the detection on the scale of 8 bits; picklable.

    Parameters
    ----------
    channels : ChannelSet
    names : tuple of str
    """

    channels: ChannelSet
    names: tuple[str, ...]

    def read_around(self, box: Box) -> tuple[Bytes, Bytes]:
        """Both with a voxel around the box, (z + 2, y + 2, x + 2): beyond the border the nearest one."""
        whole = self.channels.whole
        grown = box.grow(HALO, whole)
        at = list(zip(box.start[1:], box.stop[1:], grown.start[1:], grown.stop[1:], strict=True))
        missing = [(1 - (start - low), 1 - (high - stop)) for start, stop, low, high in at]
        first, second = (np.pad(to_bytes(self.channels.read(name, grown)), missing, mode="edge") for name in self.names)
        return first, second

    def read_codes(self, box: Box) -> Codes:
        """Covariances of a box as integers, (z, y, x)."""
        return covariance_codes(*self.read_around(box))


def covariance_codes(first: Bytes, second: Bytes) -> Codes:
    """The integers of a box, (z, y, x), from what `Pair.read_around` gave."""
    depth, height, width = (n - 2 for n in first.shape)
    out = np.empty((depth, height, width), np.int32)
    boxes.box_covariances(freeze(first), freeze(second), out)
    return out


def statistics_path(folder: Path, number: int) -> Path:
    """The record of a block."""
    return folder / str(number // FOLDER_FILES) / f"{number}.sums"


def count_block(work: Pair, folder: Path, item: tuple[int, Box]) -> None:
    """The task: sums of a block, written down."""
    number, box = item
    sums = np.zeros((len(work.channels), box.shape[1], boxes.PLANE_SUMS), np.uint64)
    for k, name in enumerate(work.channels):
        values = freeze(work.channels.read(name, box))
        add = boxes.sum_planes if values.dtype.itemsize <= 2 else boxes.sum_wide_planes
        add(values, sums[k])
    pair = work.read_around(box)
    inner = (slice(1, -1),) * 3
    scaled = np.zeros((2, box.shape[1], boxes.PLANE_SUMS), np.uint64)
    for part, into in zip(pair, scaled, strict=True):
        boxes.sum_planes(freeze(part[inner]), into)
    codes = covariance_codes(*pair)
    arrays = {
        PLANES: sums,
        BYTES: scaled.sum(axis=1)[:, [0, 2]],  # of squares of at most 255 in a block: far from 64 bits
        ENDS: np.array([codes.min(), codes.max()], np.int64),
    }
    write_record(statistics_path(folder, number), arrays)


@dataclass(frozen=True, eq=False)
class Statistics:
    """What the first pass found out.

    Parameters
    ----------
    planes : mapping of str to list of Moments
        Of each plane of each channel.
    pair : tuple of Moments
        Of the channels of detection, on the scale of 8 bits.
    lowest, highest : int
        Of the codes.
    """

    planes: Mapping[str, list[Moments]]
    pair: tuple[Moments, Moments]
    lowest: int
    highest: int

    def means(self, name: str) -> npt.NDArray[np.float64]:
        """Mean of each plane, (z,)."""
        return np.array([moments.mean for moments in self.planes[name]])

    def deviations(self, name: str) -> npt.NDArray[np.float64]:
        """Standard deviation of each plane, (z,)."""
        return np.array([moments.deviation for moments in self.planes[name]])


def join_statistics(work: Pair, folder: Path, blocks: Iterable[tuple[int, Box]]) -> Statistics:
    """The statistics of the volume from the records of all its blocks."""
    _, depth, height, width = work.channels.whole.shape
    names = list(work.channels)
    planes: list[list[list[int]]] = [[[0] * boxes.PLANE_SUMS for _ in range(depth)] for _ in names]
    pair, ends = np.zeros((2, 2), object), [np.iinfo(np.int64).max, np.iinfo(np.int64).min]
    for number, box in blocks:
        record = Record(statistics_path(folder, number))
        for ours, theirs in zip(planes, record[PLANES].tolist(), strict=True):
            for z, sums in enumerate(theirs, box.start[1]):
                ours[z] = [a + b for a, b in zip(ours[z], sums, strict=True)]
        pair += record[BYTES].astype(object)
        low, high = record[ENDS].tolist()
        ends = [min(ends[0], low), max(ends[1], high)]
    found = {name: [_moments(height * width, sums) for sums in ours] for name, ours in zip(names, planes, strict=True)}
    first, second = (Moments(depth * height * width, int(a), int(b)) for a, b in pair)
    return Statistics(found, (first, second), *ends)


def _moments(count: int, sums: Sequence[int]) -> Moments:
    """From the sums of lower and upper halves of `numba_ops.boxes.sum_wide_planes`."""
    low, high, *halves = sums
    squares, mixed, upper = (a + (b << 64) for a, b in zip(halves[::2], halves[1::2], strict=True))
    return Moments(count, low + (high << 32), squares + (mixed << 33) + (upper << 64))


def check_contrast(work: Pair, found: Statistics) -> None:
    """Refuse a channel that is the same everywhere.

    Raises
    ------
    ChannelError
        With the code ``constant``, naming the channel and its value on the scale of 8 bits.
    """
    for name, moments in zip(work.names, found.pair, strict=True):
        if moments.deviation == 0:
            text = (
                f"channel {name} has the value {moments.total // moments.count} of 255 everywhere, on a scale of 8 bits"
            )
            raise ChannelError(f"{text}, so nothing can be detected in it; choose another region", code="constant")
