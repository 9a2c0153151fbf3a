"""`segment`: objects of a probability map as a lazy, labelled array.

Nothing is computed until a part is asked for; then all blocks are labelled and merged once, since any object may go
on anywhere, and the part's blocks get their ids. Between the two, a block is kept as its packed labels and tables: a
few hundredths of its voxels' bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.axes import ORDER
from pipeline.blocks import AXES, Box
from pipeline.errors import PlanError
from pipeline.labelling import choose_block, plan_labels
from pipeline.thresholding import Thresholding, find_channel

if TYPE_CHECKING:
    import xarray

Sigma = float | Mapping[str, float] | Sequence[float]


def segment(
    prob: xarray.DataArray,
    *,
    channel: str | int = 0,
    threshold: float | None = None,
    high: float | None = None,
    low: float | None = None,
    core_channel: str | int | None = None,
    sigma: Sigma = 1.0,
    min_size: int = 10,
    max_size: int = 1_000_000,
    connectivity: str = "face",
    renumber: bool = True,
) -> xarray.DataArray:
    """Find objects lazily.

    Parameters
    ----------
    prob : xarray.DataArray
        Dims from ``t c z y x``; what `predict` or `open_volume` returned, or any labelled array of numbers. Integers
        mean 0..1 as 0..max.
    channel : str or int
        Of the objects: a name that the coordinate ``c`` holds, or a number from 0.
    threshold : float, optional
        Simple thresholding: objects are where the smoothed channel reaches this; 0.5 by default.
    high, low : float, optional
        Thresholding with hysteresis, if either is given: objects are where `low` is reached (0.5 by default), if they
        hold a voxel of a core, where `high` is (0.8 by default).
    core_channel : str or int, optional
        Channel of the cores; that of the objects by default.
    sigma : float, mapping or sequence
        Of the Gaussian that smoothes, voxels: one for all axes, by axis (``{"z": 0.5, "y": 1, "x": 1}``), or for z, y,
        x. Below 0.1 along any axis, nothing is smoothed.
    min_size, max_size : int
        Voxels; smaller and larger objects are removed, and with hysteresis smaller and larger cores before that.
    connectivity : {"face", "full"}
        Whether voxels are connected with those that share a face, or an edge or a corner, too.
    renumber : bool
        Whether ids are 1, 2, ... without gaps; else they are ilastik's, in which removed objects leave gaps.

    Returns
    -------
    xarray.DataArray
        uint64, dims of `prob` without ``c``: 0 in the background, else the object's id. Ids follow the first voxel in
        C order of (z, y, x), in each time step from 1, and depend on nothing else.

    Raises
    ------
    PlanError
        If settings and data do not fit each other.

    Examples
    --------
    >>> labels = segment(prob, channel="Nucleus", threshold=0.5, sigma=1.0, min_size=10)  # doctest: +SKIP
    >>> labels.isel(z=40).compute()  # doctest: +SKIP
    """
    hysteresis = high is not None or low is not None
    if threshold is not None and hysteresis:
        raise PlanError("threshold is for simple thresholding, high and low for hysteresis; give one or the other")
    if core_channel is not None and not hysteresis:
        raise PlanError("a core channel is for hysteresis; give high, or low, too")
    names, n = _channels(prob)
    of_objects = find_channel(channel, names, n)
    default = Thresholding()
    settings = Thresholding(
        method="hysteresis" if hysteresis else "simple",
        channel=of_objects,
        core_channel=of_objects if core_channel is None else find_channel(core_channel, names, n),
        low=next(value for value in (threshold, low, default.low) if value is not None),
        high=default.high if high is None else high,
        sigma_zyx=_sigma_zyx(sigma),
        min_size=min_size,
        max_size=max_size,
        drange=(0.0, float(np.iinfo(prob.dtype).max)) if prob.dtype.kind in "iu" else None,
    )
    return label_lazily(prob, settings, connectivity=connectivity, renumber=renumber)


def label_lazily(
    prob: xarray.DataArray,
    thresholding: Thresholding,
    *,
    connectivity: str = "face",
    renumber: bool = True,
    block: Sequence[int] | None = None,
) -> xarray.DataArray:
    """Find objects lazily, with settings that are there already; see `segment`.

    Parameters
    ----------
    prob : xarray.DataArray
    thresholding : Thresholding
        Its channels are those of `prob`.
    connectivity, renumber
        As in `segment`.
    block : sequence of int, (t, z, y, x), optional
        What one task labels; whole chunks of `prob` by default.
    """
    import xarray

    from pipeline.label_graph import build_graph

    _, n_channels = _channels(prob)
    prob = prob.transpose(*[axis for axis in ORDER if axis in prob.dims])
    length = dict(zip((str(d) for d in prob.dims), prob.shape, strict=True))
    image = Box.whole([length.get(axis, 1) for axis in AXES])
    thresholding.check(n_channels, image.shape[1:])
    wanted = slice(min(thresholding.channels), max(thresholding.channels) + 1)
    if block is None:
        chunks = {str(d): max(int(n) for n in sizes) for d, sizes in prob.chunksizes.items()}
        voxel_bytes = prob.dtype.itemsize * (wanted.stop - wanted.start)
        chunk = [chunks.get(axis, 1) for axis in AXES]
        block = choose_block(image, chunk, thresholding, voxel_bytes=voxel_bytes)
    plan = plan_labels(
        image,
        block,
        thresholding.pick(range(wanted.start, wanted.stop)),
        n_channels=wanted.stop - wanted.start,
        connectivity=connectivity,
        renumber=renumber,
    )
    dims = [str(d) for d in prob.dims if d != "c"]
    coords = {name: coord for name, coord in prob.coords.items() if set(coord.dims) <= set(dims) and name != "c"}
    attrs = {**prob.attrs, "thresholding": str(thresholding)}
    return xarray.DataArray(build_graph(prob, plan, wanted), dims=dims, coords=coords, name="labels", attrs=attrs)


def _channels(prob: xarray.DataArray) -> tuple[list[str], int]:
    """Names of the channels, if they have any, and how many there are."""
    dims = [str(d) for d in prob.dims]
    if not {"y", "x"} <= set(dims) <= set(ORDER):
        raise PlanError(f"dims {', '.join(dims)}; allowed are t, c, z, y, x, and y and x are needed", code="axes")
    if prob.dtype.kind not in "buif":
        raise PlanError(f"dtype {prob.dtype}; allowed are integers, floats and bool", code="dtype")
    if "c" not in dims:
        return [], 1
    named = "c" in prob.coords and prob.coords["c"].dtype.kind in "UO"
    return ([str(name) for name in prob.coords["c"].values] if named else []), prob.sizes["c"]


def _sigma_zyx(sigma: Sigma) -> tuple[float, float, float]:
    if isinstance(sigma, Mapping):
        if not set(sigma) <= set("zyx"):
            raise PlanError(f"sigma names the axes {', '.join(sigma)}; allowed are z, y, x", code="threshold")
        z, y, x = (float(sigma.get(axis, 1.0)) for axis in "zyx")
        return z, y, x
    if isinstance(sigma, Sequence):
        if len(sigma) != 3:
            raise PlanError(f"sigma is {sigma}; give one number, or three for z, y, x", code="threshold")
        return float(sigma[0]), float(sigma[1]), float(sigma[2])
    return float(sigma), float(sigma), float(sigma)
