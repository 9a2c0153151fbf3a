"""Feature stacks of tiles, in slabs of a few planes: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from numba_ops.stack import SLAB, Scale, Stack
from numba_ops.stream import Geometry, Kernels, Work, advance

Float = npt.NDArray[np.float32]
IDENTITY = np.ones(1, np.float32)


def slabs(
    block: npt.NDArray[Any],
    origin_zyx: Sequence[int],
    image_zyx: Sequence[int],
    core: Sequence[tuple[int, int]],
    stack: Stack,
) -> Iterator[tuple[int, Float]]:
    """Features of a core region, a few planes at a time.

    Parameters
    ----------
    block : ndarray, (c, z, y, x), any real dtype
        Raw data: the core and `stack.halo_zyx` voxels more on each side, clipped at the image.
    origin_zyx : sequence of int
        Image position of the block's first voxel.
    image_zyx : sequence of int
        Shape of the image; its border is where data is reflected.
    core : three pairs of int
        Image ranges (start, stop) along z, y and x to compute.
    stack : Stack
        What to compute.

    Yields
    ------
    z : int
        Image plane of the first plane of the slab.
    slab : ndarray, (columns, planes, y, x), float32
        Features; at most `SLAB` planes. The array is reused for the next slab.

    Notes
    -----
    Source: SEMANTICS sections 2 to 4. The caller has checked that every scale fits the image.
    """
    (z0, z1), (y0, y1), (x0, x1) = core
    pad = max(s.reach for s in stack.scales)
    tiles = [_pad_tile(channel, origin_zyx, image_zyx, core, pad, stack.halo_zyx[0]) for channel in block]
    first = max(z0 - stack.halo_zyx[0], 0)
    streams = [
        _Stream(scale, channel, tiles[channel], first, pad, image_zyx, core)
        for channel in range(len(block))
        for scale in stack.scales
        if (scale.columns[channel] >= 0).any()
    ]
    memory = np.empty((stack.n_columns, min(SLAB, z1 - z0), y1 - y0, x1 - x0), np.float32)
    for z in range(z0, z1, SLAB):
        stop = min(z + SLAB, z1)
        slab = memory if stop - z == memory.shape[1] else np.empty_like(memory[:, : stop - z], order="C")
        for stream in streams:
            stream.advance(slab.reshape(-1), z, stop)
        yield z, slab


def _pad_tile(
    channel: npt.NDArray[Any],
    origin: Sequence[int],
    image: Sequence[int],
    core: Sequence[tuple[int, int]],
    pad: int,
    halo_z: int,
) -> Float:
    """Raw data as float32 with `pad` voxels around the core along y and x, reflected outside the image."""
    slices, widths = [], []
    for axis, reach in enumerate((halo_z, pad, pad)):
        (start, stop), n = core[axis], image[axis]
        lo, hi = max(start - reach, 0), min(stop + reach, n)
        slices.append(slice(lo - origin[axis], hi - origin[axis]))
        widths.append((0, 0) if axis == 0 else (lo - start + reach, stop + reach - hi))
    tile = channel[tuple(slices)].astype(np.float32)
    return np.pad(tile, widths, mode="reflect") if any(map(any, widths)) else tile


class _Stream:
    """State of one scale of one channel between slabs."""

    def __init__(
        self,
        scale: Scale,
        channel: int,
        tile: Float,
        first: int,
        pad: int,
        image: Sequence[int],
        core: Sequence[tuple[int, int]],
    ) -> None:
        self.columns = scale.columns[channel]
        self.tile = tile.reshape(-1)
        self.geometry = g = _geometry(scale, first, pad, image, core)
        self.kernels = _kernels(scale)
        sizes = scale.scratch(g.rows, g.width)
        self.work = Work(**{name: np.empty(size, np.float32) for name, size in sizes.items()})
        z0 = core[0][0]
        self.position = np.array(
            [max(z0 - reach, 0) for reach in (g.margin_z + g.smooth_z, g.margin_z, g.filter_z)], np.int64
        )

    def advance(self, slab: Float, start: int, stop: int) -> None:
        advance(
            self.geometry, self.kernels, self.work, self.position, self.columns, self.tile, slab, start, stop
        )


def _geometry(
    scale: Scale, first: int, pad: int, image: Sequence[int], core: Sequence[tuple[int, int]]
) -> Geometry:
    _, (y0, y1), (x0, x1) = core
    smooth, edge = len(scale.presmooth) - 1, max(map(len, scale.gradient)) - 1
    margin, reach = scale.filter_reach, max(map(len, scale.filters)) - 1
    deep = 0 if scale.in_2d else 1
    return Geometry(
        depth=image[0], height=image[1], breadth=image[2], first=first, y=y0, x=x0, rows=y1 - y0, width=x1 - x0,
        pad=pad, margin=margin, margin_z=margin * deep, smooth=smooth, filter=reach, edge=edge,
        smooth_z=smooth * deep, filter_z=reach * deep, edge_z=edge * deep, flat=scale.in_2d,
    )  # fmt: skip


def _kernels(scale: Scale) -> Kernels:
    def join(parts: Sequence[Float]) -> tuple[Float, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        lengths = np.array([len(p) for p in parts], np.int64)
        return np.concatenate(parts), np.cumsum(lengths) - lengths, lengths - 1

    return Kernels(scale.presmooth, *join(scale.filters), scale.inner, *join(scale.gradient), IDENTITY)
