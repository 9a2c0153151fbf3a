"""The tile that one stream of planes covers: its sizes, taps and memory, as compiled code takes them.

Pure: a plan asks here what a tile will cost, without loading a compiler.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from numba_ops.taps import Orders, lay_out

if TYPE_CHECKING:
    from numba_ops.stack import Scale

ALIGN = 16  # float32 in a cache line: every pitch is a multiple, so that passes along y and z load whole lines
MARGIN = 64  # float32 beyond the last row that a pass along x may read
GROUP = 4  # planes that are presmoothed side by side: as many as a slab has
TURNED = 32  # rows that are transposed at once before a wide pass along x, at most
CHUNK = 512  # voxels of one z pass: its dozen rows stay in the first-level cache
BAND = 8  # rows of the gradient whose products are formed at once, for the same reason
SKEW = 16  # planes are this much longer than they need be, lest power-of-two tiles meet in one cache set

# In-plane derivatives, by their orders along (y, x): what one pass along y makes stands side by side.
YX00, YX10, YX20, YX01, YX11, YX02, INNER = range(7)
PLANES = 7


class Geometry(NamedTuple):
    """Sizes of a tile and its neighbourhood, in voxels, the same for all planes. A pitch is between rows in memory."""

    depth: int  # planes of the image
    height: int  # rows of the image
    breadth: int  # columns of the image
    first: int  # image plane of the first plane of the raw tile
    y: int  # image position of the core
    x: int
    rows: int  # shape of the core
    width: int
    pad: int  # raw voxels around the core along y and x
    margin: int  # presmoothed voxels around the core along y and x
    margin_z: int  # and along z
    smooth: int  # reaches of presmoothing, filters and gradient in the plane
    filter: int
    edge: int
    smooth_z: int  # and along z: the same, or 0 in a 2-D scale
    filter_z: int
    edge_z: int
    flat: bool  # whether the scale is filtered in 2-D
    raw_pitch: int  # with `pad` on both sides
    wide_pitch: int  # with `margin` on both sides
    edge_pitch: int  # with `filter` on both sides
    pitch: int  # of the core alone
    wide_size: int  # of a presmoothed plane
    edge_size: int  # of a plane of the gradient
    size: int  # of a plane of the core
    slots: int  # planes of the ring of derivatives


class Kernels(NamedTuple):
    """Taps of one scale."""

    smooth: Any
    filter: Orders
    inner: Any
    edge: Orders


class Places(NamedTuple):
    """Where the rings and scratch of one stream start in its memory; sizes in elements while they are laid out."""

    rows: int  # an x pass over a raw plane
    turned: int  # raw rows, transposed
    smooth: int  # ring: planes smoothed along x and y
    plane: int  # the next presmoothed planes
    ordered: int  # x passes over a presmoothed plane
    derivative: int  # ring: in-plane derivatives
    edge: int  # ring: three in-plane gradients
    product: int  # a band of the gradient and of a product
    tensor: int  # ring: six smoothed products
    chunk: int  # z passes


def align(n: int) -> int:
    """The next multiple of `ALIGN`."""
    return -(-n // ALIGN) * ALIGN


def lay_tile(scale: Scale, first: int, pad: int, image: Sequence[int], core: Sequence[tuple[int, int]]) -> Geometry:
    """Sizes for one scale over the core ranges (z, y, x) of an image; raw data starts at plane `first`."""
    _, (y0, y1), (x0, x1) = core
    smooth, reach, edge = scale.reaches
    margin = scale.filter_reach
    deep = 0 if scale.in_2d else 1
    rows, width = y1 - y0, x1 - x0
    wide_pitch, edge_pitch, pitch = align(width + 2 * margin), align(width + 2 * reach), align(width)
    depth, height, breadth = (int(n) for n in image)
    return Geometry(
        depth=depth,
        height=height,
        breadth=breadth,
        first=first,
        y=y0,
        x=x0,
        rows=rows,
        width=width,
        pad=pad,
        margin=margin,
        margin_z=margin * deep,
        smooth=smooth,
        filter=reach,
        edge=edge,
        smooth_z=smooth * deep,
        filter_z=reach * deep,
        edge_z=edge * deep,
        flat=scale.in_2d,
        raw_pitch=align(width + 2 * pad),
        wide_pitch=wide_pitch,
        edge_pitch=edge_pitch,
        pitch=pitch,
        wide_size=(rows + 2 * margin) * wide_pitch + SKEW,
        edge_size=(rows + 2 * reach) * edge_pitch + SKEW,
        size=rows * pitch + SKEW,
        slots=(reach + margin) * deep + 1,
    )


def lay_kernels(scale: Scale) -> Kernels:
    """Taps of one scale, joined."""
    return Kernels(scale.presmooth, lay_out(scale.filters), scale.inner, lay_out(scale.gradient))


@functools.lru_cache(256)
def lay_memory(scale: Scale, rows: int, width: int) -> tuple[Places, int]:
    """Memory of one stream over a tile of ``rows x width`` voxels, whatever its depth.

    Returns
    -------
    Places
        Where each part starts.
    int
        float32 in all.
    """
    g = lay_tile(scale, 0, 0, (1, rows, width), ((0, 1), (0, rows), (0, width)))
    tensor = 1 if scale.wants_tensor else 0
    ordered = (rows + 2 * g.filter) * g.pitch
    sizes = Places(
        rows=(rows + 2 * (g.margin + g.smooth)) * g.wide_pitch,
        turned=(g.wide_pitch + 2 * g.smooth + 2 * ALIGN) * TURNED,
        smooth=0 if g.flat else (2 * g.smooth + GROUP) * g.wide_size,
        plane=(1 if g.flat else GROUP) * g.wide_size,
        ordered=max((6 if tensor else 3) * ordered, 2 * tensor * (rows + 2 * g.margin) * g.edge_pitch),
        derivative=PLANES * g.slots * g.size,
        edge=3 * (2 * g.edge_z + 1) * g.edge_size * tensor,
        product=4 * BAND * g.edge_pitch * tensor,
        tensor=6 * (2 * g.filter_z + 1) * g.size * tensor,
        chunk=(2 * PLANES + 1) * CHUNK,
    )
    ends = [int(n) for n in np.cumsum([size + MARGIN for size in sizes])]
    return Places(0, *ends[:-1]), ends[-1]
