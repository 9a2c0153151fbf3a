"""Feature stacks of tiles, in slabs of a few planes: arrays in, arrays out."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from numba_ops._jit import freeze
from numba_ops.arena import Arena, borrow
from numba_ops.stack import SLAB, Scale, Stack
from numba_ops.stream import advance
from numba_ops.taps import Orders
from numba_ops.tile import Geometry, Kernels, align, lay_kernels, lay_memory, lay_tile

Float = npt.NDArray[np.float32]


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
        Features; at most `SLAB` planes. Its memory is used again when the next one is asked for, or the last was.

    Notes
    -----
    Source: SEMANTICS sections 2 to 4. The caller has checked that every scale fits the image.
    """
    (z0, z1), (y0, y1), (x0, x1) = core
    rows, width = y1 - y0, x1 - x0
    first = max(z0 - stack.halo_zyx[0], 0)
    with borrow(stack.scratch_bytes(z1 - z0, rows, width) // 4) as arena:
        shared = arena.take(max((lay_memory(s, rows, width)[1] for s in stack.scales if s.in_2d), default=0))
        pad = max(s.reach for s in stack.scales)
        tiles = [_pad_tile(arena, channel, origin_zyx, image_zyx, core, pad, stack.halo_zyx[0]) for channel in block]
        streams = []
        for channel, tile in enumerate(tiles):
            for scale in stack.scales:
                if (scale.columns[channel] >= 0).any():
                    g = lay_tile(scale, first, pad, image_zyx, core)
                    streams.append(_start_stream(arena, scale, channel, g, tile, z0, shared))
        memory = arena.take(stack.n_columns * min(SLAB, z1 - z0) * rows * width)
        for z in range(z0, z1, SLAB):
            shape = (stack.n_columns, min(SLAB, z1 - z), rows, width)
            slab = memory[: math.prod(shape)]
            for stream in streams:
                advance(*stream, slab, z, z + shape[1])
            yield z, slab.reshape(shape)


def _pad_tile(
    arena: Arena,
    channel: npt.NDArray[Any],
    origin: Sequence[int],
    image: Sequence[int],
    core: Sequence[tuple[int, int]],
    pad: int,
    halo_z: int,
) -> Float:
    """Raw data as flat float32 with `pad` voxels around the core along y and x, reflected outside the image."""
    inside, places = [], []
    for axis, reach in enumerate((halo_z, pad, pad)):
        (start, stop), n = core[axis], image[axis]
        lo, hi = max(start - reach, 0), min(stop + reach, n)
        inside.append(slice(lo - origin[axis], hi - origin[axis]))
        places.append(slice(lo - start + reach, hi - start + reach))
    depth = inside[0].stop - inside[0].start
    rows, width = (stop - start + 2 * pad for start, stop in core[1:])
    flat = arena.take(depth * rows * align(width))
    tile = flat[: depth * rows * align(width)].reshape(depth, rows, align(width))
    with np.errstate(over="ignore"):
        tile[:, places[1], places[2]] = channel[tuple(inside)]
    _reflect(tile[:, :, :width].transpose(2, 0, 1)[:, :, places[1]], core[2][0] - pad, image[2])
    _reflect(tile.transpose(1, 0, 2), core[1][0] - pad, image[1])
    return flat


def _reflect(rows: Float, first: int, n: int) -> None:
    """Fill the rows outside an image of `n` rows from those inside; row 0 is image row `first`."""
    period = max(2 * (n - 1), 1)
    for i in [*range(min(max(-first, 0), len(rows))), *range(max(n - first, 0), len(rows))]:
        at = (first + i) % period
        rows[i] = rows[min(at, period - at) - first]


def _start_stream(
    arena: Arena, scale: Scale, channel: int, g: Geometry, tile: Float, z0: int, shared: Float
) -> tuple[Any, ...]:
    """What `advance` takes for one scale of one channel, from image plane `z0` on; scales in 2-D work in `shared`."""
    places, size = lay_memory(scale, g.rows, g.width)
    memory = shared if scale.in_2d else arena.take(size)
    start = [max(z0 - g.margin_z, 0)] * 2
    done = np.array([max(start[0] - g.smooth_z, 0), *start, max(z0 - g.filter_z, 0)], np.int64)
    kernels, columns, orders_z = _prepare(scale)
    return g, kernels, places, memory, done, orders_z[channel], columns[channel], freeze(tile)


@functools.lru_cache(64)
def _prepare(scale: Scale) -> tuple[Kernels, list[Any], list[Any]]:
    """Taps, columns and orders of a scale, frozen; the same for all tiles."""
    k = lay_kernels(scale)
    kernels = Kernels(freeze(k.smooth), _freeze(k.filter), freeze(k.inner), _freeze(k.edge))
    channels = range(len(scale.columns))
    return kernels, [freeze(scale.columns[c]) for c in channels], [freeze(scale.orders_z(c)) for c in channels]


def _freeze(k: Orders) -> Orders:
    return Orders(freeze(k.taps), freeze(k.at), freeze(k.reach), k.widest, k.common)
