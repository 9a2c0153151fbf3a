"""The table of objects, made from the rows of `pipeline.measurement`: an object's rows added, columns named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numba_ops import census
from pipeline.blocks import Index
from pipeline.measurement import PAIRS

if TYPE_CHECKING:
    import pandas

Array = npt.NDArray[Any]
EXACT_BITS = 16  # sums of integers of up to so many bits are exact: 2^47 voxels would be needed to overflow
LENGTHS = {2: ("major", "minor"), 3: ("major", "middle", "minor")}


@dataclass(frozen=True)
class Channel:
    """Values that objects are measured on.

    Parameters
    ----------
    source : {"raw", "probability"}
    name : str or None
        Of the channel; None for data without channels.
    dtype : str
        Of the values.
    """

    source: str
    name: str | None
    dtype: str

    @property
    def prefix(self) -> str:
        """What its columns begin with."""
        return self.source if self.name is None else f"{self.source}_{self.name}"

    @property
    def is_exact(self) -> bool:
        """Whether sums are kept as integers."""
        kind = np.dtype(self.dtype)
        return kind.kind in "bui" and 8 * kind.itemsize <= EXACT_BITS


@dataclass(frozen=True)
class Columns:
    """What the columns of a table follow from.

    Parameters
    ----------
    dims : str
        Axes of the labels, of t z y x.
    shape : tuple of int, (t, z, y, x)
    spacing, units : mapping by axis letter
        Voxel size where it is known.
    channels : tuple of Channel
    origin : mapping by axis letter
        Place of the first voxel in the whole volume, in voxels; counts for positions alone.
    """

    dims: str
    shape: Index
    spacing: Mapping[str, float]
    units: Mapping[str, str]
    channels: tuple[Channel, ...]
    origin: Mapping[str, float] = field(default_factory=dict)

    @property
    def space(self) -> str:
        """The spatial axes that there are, of z y x."""
        return "".join(axis for axis in "zyx" if axis in self.dims)

    @property
    def unit(self) -> str:
        """Unit of positions and lengths; "voxel" where nothing is known, all of them where axes differ."""
        if not any(axis in self.spacing for axis in self.space):
            return "voxel"
        units = [self.units.get(axis, "") for axis in self.space]
        return units[0] if len(set(units)) == 1 else ", ".join(map(" ".join, zip(self.space, units, strict=True)))


def make_table(rows: Array, columns: Columns) -> pandas.DataFrame:
    """The table of all objects that these rows are of.

    Parameters
    ----------
    rows : ndarray, (rows,), `pipeline.measurement.row_type`
        All rows of each object, in any order.
    columns : Columns

    Returns
    -------
    pandas.DataFrame
        See `pipeline.measurement.measure`; by time and id.
    """
    import pandas

    rows = rows[np.lexsort((rows["cell"], rows["id"], rows["t"]))]
    starts = _find_starts(rows)
    table = {**_positions(rows, starts, columns), **_intensities(rows, starts, columns.channels)}
    return pandas.DataFrame(table)


def _find_starts(rows: Array) -> npt.NDArray[np.int64]:
    """First row of each object, and the number of rows."""
    new = np.ones(len(rows) + 1, bool)
    new[1:-1] = (rows["id"][1:] != rows["id"][:-1]) | (rows["t"][1:] != rows["t"][:-1])
    return np.flatnonzero(new)


def _positions(rows: Array, starts: Array, columns: Columns) -> dict[str, Array]:
    first = starts[:-1]
    counts = _reduce(np.add, rows["count"], first)
    low, high = _reduce(np.minimum, rows["low"], first), _reduce(np.maximum, rows["high"], first)
    centroid = _reduce(np.add, rows["sums"], first) / counts[:, None]
    table = {"id": rows["id"][first]}
    if "t" in columns.dims:
        table["t"] = rows["t"][first].astype(np.int64)
    table["size"] = counts
    at = ["zyx".index(axis) for axis in columns.space]
    for k, axis in zip(at, columns.space, strict=True):
        table[f"bbox_{axis}_start"] = low[:, k].astype(np.int64)
        table[f"bbox_{axis}_stop"] = high[:, k].astype(np.int64)
    for k, axis in zip(at, columns.space, strict=True):
        table[f"centroid_{axis}"] = centroid[:, k]
    for k, axis in zip(at, columns.space, strict=True):
        table[f"position_{axis}"] = (centroid[:, k] + columns.origin.get(axis, 0.0)) * columns.spacing.get(axis, 1.0)
    table |= _lengths(rows, starts, counts, columns)
    table["unit"] = np.full(len(first), columns.unit, object)
    long = [k for k in at if columns.shape[k + 1] > 1]  # of a single plane every object touches both faces
    end = np.array(columns.shape[1:])[long]
    table["touches_border"] = (low[:, long] == 0).any(axis=1) | (high[:, long] == end).any(axis=1)
    return table


def _lengths(rows: Array, starts: Array, counts: Array, columns: Columns) -> dict[str, Array]:
    """Axes of the ellipse or ellipsoid with the object's second moments, longest first.

    Notes
    -----
    The variance along an axis of half length a is a^2 / 4 in an ellipse and a^2 / 5 in an ellipsoid.
    """
    merged = np.empty((len(counts), len(PAIRS)))
    means = rows["sums"] / rows["count"][:, None]
    census.merge_moments(starts, rows["count"].copy(), means, rows["products"].copy(), np.array(PAIRS), merged)
    n = len(columns.space)
    tensor = np.zeros((len(counts), 3, 3))
    for k, (a, b) in enumerate(PAIRS):
        scale = columns.spacing.get("zyx"[a], 1.0) * columns.spacing.get("zyx"[b], 1.0)
        tensor[:, a, b] = tensor[:, b, a] = merged[:, k] / counts * scale
    variances = np.linalg.eigvalsh(tensor[:, 3 - n :, 3 - n :]).clip(0)
    lengths = 2 * np.sqrt((n + 2) * variances)
    return {f"axis_{name}_length": lengths[:, n - 1 - k] for k, name in enumerate(LENGTHS[n])}


def _intensities(rows: Array, starts: Array, channels: tuple[Channel, ...]) -> dict[str, Array]:
    if not channels:
        return {}
    first, shape = starts[:-1], (len(starts) - 1, len(channels))
    counts = _reduce(np.add, rows["count"], first)
    totals, squares = np.empty(shape), np.empty(shape)
    census.merge_sums(starts, rows["total"].copy(), totals)
    means, alone = rows["total"] / rows["count"][:, None], np.arange(len(channels)).repeat(2).reshape(-1, 2)
    census.merge_moments(starts, rows["count"].copy(), means, rows["squares"].copy(), alone, squares)
    least, most = _reduce(np.minimum, rows["least"], first), _reduce(np.maximum, rows["most"], first)
    table = {}
    for k, channel in enumerate(channels):
        total, kind = totals[:, k], np.dtype(channel.dtype).kind
        if channel.is_exact:
            total = _reduce(np.add, rows["total"][:, k].astype(np.int64), first)
        ends = [found[:, k].astype(np.int64) if channel.is_exact else found[:, k] for found in (least, most)]
        if kind == "f":
            ends = [found.astype(channel.dtype) for found in ends]
        mean, deviation = total / counts, np.sqrt(squares[:, k] / counts)
        for name, values in zip(("mean", "sum", "min", "max", "std"), (mean, total, *ends, deviation), strict=True):
            table[f"{channel.prefix}_{name}"] = values
    return table


def _reduce(add: np.ufunc, values: Array, first: Array) -> Array:
    """`add` over the rows of each object; for what does not depend on their order."""
    if len(first) == 0:
        return values[:0]
    reduced: Array = add.reduceat(values, first, axis=0)
    return reduced
