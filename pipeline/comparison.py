"""How far two results are apart: block by block, whatever their formats and orders of axes.

Both are read in the canonical order. Counts, maximum, mean and worst places are exact; quantiles come from a histogram
of the differences whose bins are 0.1 % wide, and are given as the lower edge of their bin.

Integers stand for 0..1 where one side is a float and the other uint8 or uint16, or where both are of these two types
and there are several channels, as probabilities have; they are divided by the largest value of their type then. All
else is compared as stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.blocks import Box, grid, grid_shape
from pipeline.errors import PlanError, VolumeError
from pipeline.progress import Progress
from pipeline.volume import Volume

Array = npt.NDArray[Any]
BLOCK_VALUES = 1 << 21  # compared at once: some 100 MB with everything that is made of them
ILASTIK = "ilastik"
THRESHOLDS = (0.015, 0.15)  # ilastik's own tests: at most 0.1 % of the values reach the first, none the second
QUANTILES = (0.5, 0.9, 0.99, 0.999)
WORST = 5
PARTS = 4 * WORST  # blocks of a small volume, unless they had fewer voxels than this:
SMALLEST_PART = 4096
_BITS = 42  # of a float64 that bins leave out: what stays of its 52-bit mantissa makes 2^10 bins a power of two
_SCALABLE = ("uint8", "uint16")


@dataclass(frozen=True)
class Tolerance:
    """What counts as equal.

    Parameters
    ----------
    name : str
        As it was asked for.
    limits : tuple of (threshold, share)
        For each threshold the largest share of the values that may differ by it or more.
    """

    name: str
    limits: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Place:
    """A value that differs: coordinates over (t, c, z, y, x), both values as stored, and how far they are apart."""

    index: tuple[int, ...]
    ours: float
    theirs: float
    difference: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """How far two results are apart.

    Parameters
    ----------
    ours, theirs : Volume
    divisors : tuple of float
        What the values of each were divided by.
    values, voxels : int
        How many were compared; a voxel has a value for each channel.
    maximum, mean : float
        Of the absolute differences; infinite where a number meets a NaN.
    quantiles : dict of float to float
        So many of the differences are at most the value.
    reached : dict of float to int
        How many values differ by a threshold or more.
    agreeing : int or None
        Voxels with the same largest channel; None where there is one channel.
    worst : tuple of Place
        The largest difference of each of the blocks that differ most, the worst first.
    tolerance : Tolerance
    """

    ours: Volume
    theirs: Volume
    divisors: tuple[float, float]
    values: int
    voxels: int
    maximum: float
    mean: float
    quantiles: dict[float, float]
    reached: dict[float, int]
    agreeing: int | None
    worst: tuple[Place, ...]
    tolerance: Tolerance

    @property
    def within(self) -> bool:
        """Whether the tolerance is kept."""
        return all(self.reached[threshold] <= share * self.values for threshold, share in self.tolerance.limits)


def parse_tolerance(text: str) -> Tolerance:
    """``ilastik``, or a number that no difference may exceed.

    Raises
    ------
    PlanError
        With the code ``tolerance``.
    """
    if text == ILASTIK:
        return Tolerance(text, tuple(zip(THRESHOLDS, (0.001, 0.0), strict=True)))
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise PlanError(f"tolerance {text!r} is neither {ILASTIK!r} nor a number from 0 on", code="tolerance")
    return Tolerance(text, ((math.nextafter(number, math.inf), 0.0),))


def compare(
    ours: Volume, theirs: Volume, tolerance: Tolerance, progress: Progress, *, scaled: bool | None = None
) -> Comparison:
    """Compare two results.

    Parameters
    ----------
    ours, theirs : Volume
        An axis that one lacks counts as having length 1.
    tolerance : Tolerance
    progress : Progress
    scaled : bool, optional
        Whether integers stand for 0..1; decided by the rule above by default.

    Raises
    ------
    VolumeError
        With the code ``shapes``, if they cannot be compared; names both.
    ReadError
        If data turns out damaged.
    """
    _check_shapes(ours, theirs)
    divisors = _divisors(ours, theirs, scaled)
    tally = _Tally(divisors, {*THRESHOLDS, *(threshold for threshold, _ in tolerance.limits)})
    block = _choose_block(ours)
    with progress.stage("compare", blocks=math.prod(grid_shape(ours.whole, block)), voxels=ours.whole.size) as stage:
        for box in grid(ours.whole, block):
            tally.add(box, ours.read(box), theirs.read(box))
            stage.advance(box.size)
    values = ours.whole.size * ours.n_channels
    return Comparison(
        ours,
        theirs,
        divisors,
        values,
        ours.whole.size,
        tally.maximum,
        tally.total / values,
        {q: tally.quantile(q) for q in QUANTILES},
        dict(sorted(tally.reached.items())),
        tally.agreeing if ours.n_channels > 1 else None,
        tuple(tally.worst),
        tolerance,
    )


def named_lengths(volume: Volume) -> str:
    """Axes with their lengths, as ``c=2 y=30 x=40``."""
    return " ".join(f"{axis}={n}" for axis, n in zip(volume.dims, volume.shape, strict=True))


def _check_shapes(ours: Volume, theirs: Volume) -> None:
    if (ours.whole, ours.n_channels) != (theirs.whole, theirs.n_channels):
        sides = [f"{v.url} is {named_lengths(v)} (axes {v.source_axes} in the file)" for v in (ours, theirs)]
        raise VolumeError(
            f"{sides[0]}, {sides[1]}: not the same shape; --axes-ours and --axes-theirs say how to read them",
            code="shapes",
        )
    if ours.whole.size == 0:
        raise VolumeError(f"{ours.url} is empty: {named_lengths(ours)}", code="shapes")


def _divisors(ours: Volume, theirs: Volume, scaled: bool | None) -> tuple[float, float]:
    kinds = {ours.dtype.kind, theirs.dtype.kind}
    integers = "f" not in kinds
    if scaled is None:
        both = {str(ours.dtype), str(theirs.dtype)} <= set(_SCALABLE)
        scaled = kinds != {"f"} and (not integers or (both and ours.n_channels > 1))
    return tuple(_largest(v.dtype) if scaled else 1.0 for v in (ours, theirs))  # type: ignore[return-value]


def _largest(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max) if str(dtype) in _SCALABLE else 1.0


def _choose_block(volume: Volume) -> list[int]:
    """Whole chunks of a volume, as many as are compared at once; a part of one if it is larger.

    A small volume is cut, too: each block has its worst place, and those are to be spread over it.
    """
    stored = dict(zip(volume.dims, volume.chunks, strict=True))
    lengths = volume.whole.shape
    block = [1, *(min(stored.get(axis, 1), n) for axis, n in zip("zyx", lengths[1:], strict=True))]
    most = max(min(BLOCK_VALUES // volume.n_channels, max(volume.whole.size // PARTS, SMALLEST_PART)), 1)
    while math.prod(block) > most:
        longest = block.index(max(block))
        block[longest] = -(-block[longest] // 2)
    while True:
        growing = [i for i in (3, 2, 1) if block[i] < lengths[i] and 2 * math.prod(block) <= most]
        if not growing:
            return block
        block[growing[0]] *= 2


@dataclass
class _Tally:
    """Sums over the blocks seen so far."""

    divisors: tuple[float, float]
    thresholds: set[float]
    total: float = 0.0
    maximum: float = 0.0
    agreeing: int = 0
    worst: list[Place] = field(default_factory=list)
    histogram: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1 << (63 - _BITS), np.int64))
    reached: dict[float, int] = field(default_factory=dict)

    def add(self, box: Box, ours: Array, theirs: Array) -> None:
        """Count a block, both sides (t, c, z, y, x)."""
        apart = _differences(ours, theirs, self.divisors)
        self.total += float(apart.sum())
        self.maximum = max(self.maximum, float(apart.max()))
        for threshold in self.thresholds:
            self.reached[threshold] = self.reached.get(threshold, 0) + int((apart >= threshold).sum())
        counts = np.bincount((apart.ravel().view(np.uint64) >> np.uint64(_BITS)).astype(np.int64))
        self.histogram[: len(counts)] += counts
        if ours.shape[1] > 1:
            self.agreeing += int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
        if apart.any():
            self._remember(box, ours, theirs, apart)

    def quantile(self, share: float) -> float:
        """Lower edge of the bin that the smallest difference lies in which so many do not exceed."""
        seen = np.cumsum(self.histogram)
        number = np.searchsorted(seen, math.ceil(share * int(seen[-1])))
        return float(np.array(int(number) << _BITS, np.uint64).view(np.float64))

    def _remember(self, box: Box, ours: Array, theirs: Array, apart: Array) -> None:
        inside = np.unravel_index(int(apart.argmax()), apart.shape)
        first = (box.start[0], 0, *box.start[1:])
        index = tuple(int(i) + a for i, a in zip(inside, first, strict=True))
        found = Place(index, float(ours[inside]), float(theirs[inside]), float(apart[inside]))
        self.worst = sorted([*self.worst, found], key=lambda place: (-place.difference, place.index))[:WORST]


def _differences(ours: Array, theirs: Array, divisors: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Absolute differences; equal values, NaN and infinity among them, differ by 0, a number and NaN by infinity."""
    if ours.dtype.kind in "bu" and theirs.dtype.kind in "bu" and divisors == (1.0, 1.0):
        ours, theirs = ours.astype(np.uint64), theirs.astype(np.uint64)
        return (np.maximum(ours, theirs) - np.minimum(ours, theirs)).astype(np.float64)  # exact beyond 2^53, too
    a, b = (side.astype(np.float64) / by for side, by in zip((ours, theirs), divisors, strict=True))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))
