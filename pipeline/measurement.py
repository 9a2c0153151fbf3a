"""Measurements of labelled objects, cell by cell: what one block of labels adds to the table of objects.

The image is cut into cells that follow from its shape alone. A block of whole cells gives one row for each object in
each of its cells, with sums over that cell; `pipeline.object_table` adds the rows of an object in the order of the
cells. So floating-point sums are always added in the same order, and a table does not depend on chunks, blocks,
threads or workers; sizes, positions and sums of integers of up to 16 bits are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numba_ops import census
from pipeline.blocks import AXES, Box, Index, grid, grid_shape
from pipeline.errors import PlanError
from pipeline.plan import choose_chunk

if TYPE_CHECKING:
    import pandas
    import xarray

    from pipeline.object_table import Channel

Array = npt.NDArray[Any]
CELL_VOXELS = 64**3
LONGEST_EDGE = 512  # so that products of integer sums fit into 64 bits
STATISTICS = ("total", "least", "most", "squares")


def measure(
    labels: xarray.DataArray,
    raw: xarray.DataArray | None = None,
    prob: xarray.DataArray | None = None,
) -> pandas.DataFrame:
    """Measure the objects of a label image.

    Parameters
    ----------
    labels : xarray.DataArray
        Integers over dims from ``t z y x``; 0 is background. With ``t``, equal ids at two times are two objects.
    raw, prob : xarray.DataArray, optional
        Values over the same dims, and ``c`` for several channels. Names of channels come from the coordinate ``c``.

    Returns
    -------
    pandas.DataFrame
        One row for each object, by time and id. Columns: `id`, `t` (where labels have it), `size` in voxels,
        `bbox_z_start`, `bbox_z_stop` and so on (half-open), `centroid_z` and so on in voxels, `position_z` and so on
        in `unit` (``attrs["spacing"]`` and ``attrs["units"]`` of the labels, else of raw; voxels where they are not
        known), `axis_major_length`, `axis_middle_length` (in 3-D), `axis_minor_length` of the ellipsoid with the
        same second moments, in `unit`, `touches_border`, and for each channel `raw_0_mean`, `_sum`, `_min`, `_max`,
        `_std` (``raw_mean`` without ``c``; ``probability_Nucleus_mean`` for class probabilities). Sums are int64 for
        integers of up to 16 bits, else float64.

    Raises
    ------
    PlanError
        With the code ``labels``, ``shape`` or ``axes``, if labels are no integers, or shapes or axes do not fit.

    Notes
    -----
    Lazy arrays are computed block by block; kept are about 150 bytes, and 32 more for each channel, for each object
    and cell of 64 x 64 x 64 voxels that it touches. The command ``voxelforest segment --table`` spills these to disk.

    Examples
    --------
    >>> import numpy, xarray
    >>> labels = xarray.DataArray(numpy.array([[0, 2, 2], [1, 0, 2]]), dims=("y", "x"))
    >>> measure(labels)[["id", "size", "bbox_x_start", "bbox_x_stop", "centroid_x"]].values.tolist()
    [[1.0, 1.0, 0.0, 1.0, 0.0], [2.0, 3.0, 1.0, 3.0, 1.6666666666666667]]
    """
    import dask

    from pipeline.object_table import Columns, make_table

    labels = _check_labels(labels)
    sources = [("raw", raw), ("probability", prob)]
    given = [(name, _fitted(values, labels, name)) for name, values in sources if values is not None]
    shape = _index([labels.sizes.get(axis, 1) for axis in AXES])
    tasks = [
        dask.delayed(measure_block)(
            _part(labels, AXES, box), [_part(values, "tczyx", box) for _, values in given], box, shape
        )
        for box in blocks(shape)
    ]
    rows = dask.compute(*tasks)
    channels = tuple(channel for name, values in given for channel in _name_channels(name, values))
    attrs = labels.attrs if "spacing" in labels.attrs or raw is None else raw.attrs
    dims = "".join(str(d) for d in labels.dims)
    columns = Columns(dims, shape, attrs.get("spacing", {}), attrs.get("units", {}), channels)
    return make_table(np.concatenate([empty_rows(len(channels)), *rows]), columns)


def cell_shape(shape: Index) -> Index:
    """Shape of the cells of an image, (t, z, y, x), by its shape alone."""
    t, *edges = choose_chunk(shape, CELL_VOXELS)
    z, y, x = (min(edge, LONGEST_EDGE) for edge in edges)
    return t, z, y, x


def blocks(shape: Index, voxels: int | None = None) -> Iterator[Box]:
    """The image in blocks of whole cells of at most so many voxels, `settings().block_voxels` by default."""
    from pipeline.config import settings

    most = voxels or settings().block_voxels
    block = cell_shape(shape)
    while True:
        growing = [i for i in (3, 2, 1) if block[i] < shape[i]]
        axis = min(growing, key=lambda i: block[i], default=None)
        if axis is None or 2 * math.prod(block) > most:
            return grid(Box.whole(shape), block)
        block = _index([2 * n if i == axis else n for i, n in enumerate(block)])


def row_type(n_channels: int) -> np.dtype[Any]:
    """A row of the spilled table: one object in one cell."""
    fields: list[Any] = [
        ("t", "<i4"),
        ("id", "<u8"),
        ("cell", "<i8"),
        ("count", "<i8"),
        ("low", "<i4", (3,)),
        ("high", "<i4", (3,)),
        ("sums", "<i8", (3,)),
        ("products", "<f8", (6,)),
    ]
    return np.dtype([*fields, *((name, "<f8", (n_channels,)) for name in STATISTICS)])


def empty_rows(n_channels: int) -> Array:
    """No rows."""
    return np.empty(0, row_type(n_channels))


def measure_block(labels: Array, values: Sequence[Array], box: Box, shape: Index) -> Array:
    """Rows of the objects of a block, ordered by time, id and cell.

    Parameters
    ----------
    labels : ndarray, (t, z, y, x), integers
    values : sequence of ndarray, (t, c, z, y, x)
        Channels of all of them, one after the other, become those of the rows.
    box : Box
        Where the block lies; whole cells.
    shape : tuple of int, (t, z, y, x)
        Of the image.

    Returns
    -------
    ndarray, (rows,), `row_type`

    Raises
    ------
    PlanError
        With the code ``labels``, if a label is negative.
    """
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise PlanError(f"labels hold {labels.min()}; allowed are 0, the background, and above", code="labels")
    cell, cells = cell_shape(shape), grid_shape(Box.whole(shape), cell_shape(shape))
    found = [empty_rows(sum(part.shape[1] for part in values))]
    for inner in grid(box, cell):
        where = inner.slices(box.start)
        number = int(np.ravel_multi_index([a // n for a, n in zip(inner.start, cell, strict=True)], cells))
        channels = [channel for part in values for channel in part[where[0]][0][:, *where[1:]]]
        found.append(_measure_cell(labels[where][0], channels, inner.start, number))
    rows = np.concatenate(found)
    return rows[np.lexsort((rows["cell"], rows["id"], rows["t"]))]


def _measure_cell(labels: Array, channels: Sequence[Array], origin: Index, cell: int) -> Array:
    numbers = np.empty(labels.shape, np.int32)
    ids = np.empty(labels.size, np.uint64)
    n = census.number_labels(np.ascontiguousarray(labels, np.uint64), numbers, ids)
    rows = np.zeros(n, row_type(len(channels)))
    if n == 0:
        return rows
    counts, sums, products = np.zeros(n, np.int64), np.zeros((n, 3), np.int64), np.zeros((n, 6), np.int64)
    low, high = np.full((n, 3), LONGEST_EDGE, np.int64), np.zeros((n, 3), np.int64)
    census.add_positions(numbers, counts, low, high, sums, products)
    first = np.array(origin[1:])
    rows["t"], rows["id"], rows["cell"], rows["count"] = origin[0], ids[:n], cell, counts
    rows["low"], rows["high"], rows["sums"] = low + first, high + first, sums + counts[:, None] * first
    a, b = np.array(PAIRS).T
    rows["products"] = (products * counts[:, None] - sums[:, a] * sums[:, b]) / counts[:, None]
    for k, values in enumerate(channels):
        total, squares = np.zeros(n), np.zeros(n)
        least, most = np.full(n, np.inf), np.full(n, -np.inf)
        exact = np.ascontiguousarray(values, np.float64)
        census.add_values(numbers, exact, total, least, most)
        census.add_deviations(numbers, exact, total / counts, squares)
        for name, result in zip(STATISTICS, (total, least, most, squares), strict=True):
            rows[name][:, k] = result
    return rows


PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Which axes (z, y, x) each of the six products of positions is of."""


def _check_labels(labels: xarray.DataArray) -> xarray.DataArray:
    labels = _ordered(labels, "labels")
    dims = "".join(str(d) for d in labels.dims)
    if "c" in dims or not {"y", "x"} <= set(dims):
        raise PlanError(f"labels have the dims {dims}; allowed are t, z, y and x, y and x among them", code="axes")
    if labels.dtype.kind not in "iu":
        raise PlanError(f"labels are {labels.dtype}; allowed are integers, 0 in the background", code="labels")
    return labels


def _part(array: xarray.DataArray, order: str, box: Box) -> Any:
    """A box of an array, with all axes of `order`."""
    inside = {axis: part for axis, part in zip(AXES, box.slices(), strict=True) if axis in array.dims}
    part = array.isel(inside)
    return part.expand_dims([axis for axis in order if axis not in array.dims]).transpose(*order).data


def _fitted(values: xarray.DataArray, labels: xarray.DataArray, name: str) -> xarray.DataArray:
    values = _ordered(values, name)
    if values.dtype.kind not in "buif":
        raise PlanError(f"{name} values are {values.dtype}; allowed are integers, floats and bool", code="dtype")
    theirs = {str(axis): n for axis, n in values.sizes.items() if axis != "c"}
    ours = {str(axis): n for axis, n in labels.sizes.items()}
    if theirs != ours:
        given, wanted = (" ".join(f"{axis}={n}" for axis, n in sizes.items()) for sizes in (theirs, ours))
        raise PlanError(f"{name} values have {given}, the labels {wanted}; they must be the same", code="shape")
    return values


def _ordered(array: xarray.DataArray, name: str) -> xarray.DataArray:
    unknown = [str(axis) for axis in array.dims if axis not in tuple("tczyx")]
    if unknown:
        raise PlanError(f"{name} have the dims {', '.join(unknown)}; allowed are t, c, z, y, x", code="axes")
    return array.transpose(*(axis for axis in "tczyx" if axis in array.dims))


def _name_channels(source: str, values: xarray.DataArray) -> list[Channel]:
    from pipeline.object_table import Channel

    if "c" not in values.dims:
        return [Channel(source, None, str(values.dtype))]
    named = values.coords["c"].values.tolist() if "c" in values.coords else range(values.sizes["c"])
    return [Channel(source, str(name), str(values.dtype)) for name in named]


def _index(numbers: Sequence[int]) -> Index:
    t, z, y, x = (int(n) for n in numbers)
    return t, z, y, x
