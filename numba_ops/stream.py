"""One scale of one channel over one tile, plane by plane along z.

1. A raw plane is smoothed along x and y and goes into a ring of planes; a pass along z over that ring gives one
   presmoothed plane. No plane is smoothed twice for the sake of a z halo.
2. The presmoothed plane is differentiated along x and y, once per order that any wanted feature needs, into a second
   ring. For the structure tensor its gradient goes through a ring of its own, and the six products of the gradient,
   smoothed along x and y, into another.
3. Passes along z over these rings, a few hundred voxels at a time so that they stay in the first-level cache, give all
   derivatives of one plane; point-wise features and eigenvalues are written from there into the slab.

In a scale that is filtered in 2-D, every reach along z is 0 and the taps along z are the identity: the same code.

Borders: raw data comes padded by reflection along x and y, and ring positions are reflected along z. That is right for
everything but the products of the gradient (a reflected gx * gy has the wrong sign), which are reflected again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numba_ops._jit import jit
from numba_ops.eigen import eigenvalues_2d, eigenvalues_3d
from numba_ops.gaussian import convolve_row, fill_offsets, fill_ring_offsets, mirror
from numba_ops.stack import DIFFERENCE, GRADIENT, HESSIAN, LAPLACIAN, SMOOTH, STRUCTURE

CHUNK = 512  # voxels of one z pass: 12 rows of 512 float32 are 24 KiB, below every first-level cache

# Planes of in-plane derivatives, named by their orders along (y, x).
YX00, YX01, YX02, YX10, YX11, YX20 = range(6)
ORDER_Y = np.array([0, 0, 0, 1, 1, 2])
ORDER_X = np.array([0, 1, 2, 0, 1, 0])


class Geometry(NamedTuple):
    """Sizes of a tile and of its neighbourhood, all in voxels; the same for all planes."""

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


class Kernels(NamedTuple):
    """Taps in the plane and along z, orders laid end to end; `*_at` and `*_reach` say where and how long they are."""

    smooth: Any
    filter: Any
    filter_at: Any
    filter_reach: Any
    inner: Any
    edge: Any
    edge_at: Any
    edge_reach: Any
    identity: Any  # one tap of 1: the z passes of a 2-D scale


class Work(NamedTuple):
    """Rings and scratch of one stream, flat float32."""

    rows: Any  # an x pass over a raw plane
    smooth: Any  # ring: planes smoothed along x and y
    plane: Any  # one presmoothed plane
    ordered: Any  # x passes over the presmoothed plane, one order at a time
    derivative: Any  # ring: six in-plane derivatives
    inner: Any  # ring: planes smoothed by the inner Gaussian of DifferenceOfGaussians
    edge: Any  # ring: three in-plane gradients
    product: Any  # six products of one plane
    tensor: Any  # ring: six smoothed products


@jit
def _smooth_plane(g, k, work, tile, plane, out, at):
    """Smooth raw plane `plane` of the tile along x and y into ``out[at:]``."""
    pitch = g.width + 2 * g.pad
    width = g.width + 2 * g.margin
    rows = g.rows + 2 * (g.margin + g.smooth)
    skip = g.pad - g.margin
    offsets = np.empty(2 * g.smooth + 1, np.int64)
    fill_offsets(offsets, g.smooth, 1)
    base = (plane * (g.rows + 2 * g.pad) + skip - g.smooth) * pitch + skip
    for i in range(rows):
        convolve_row(tile, base + i * pitch, offsets, 0, k.smooth, 0, g.smooth, False, work.rows, i * width, width)
    fill_offsets(offsets, g.smooth, width)
    n = (g.rows + 2 * g.margin) * width
    convolve_row(work.rows, g.smooth * width, offsets, 0, k.smooth, 0, g.smooth, False, out, at, n)


@jit
def _filter_plane(g, k, work, needed, wants_inner, slot):
    """Differentiate the presmoothed plane along x and y into slot `slot` of the rings."""
    pitch = g.width + 2 * g.margin
    skip = g.margin - g.filter
    rows = g.rows + 2 * g.filter
    size = g.rows * g.width
    slots = g.filter_z + g.margin_z + 1
    base = skip * pitch + g.margin
    offsets = np.empty(2 * g.filter + 1, np.int64)
    for ox in range(3):
        if not (needed & (ORDER_X == ox)).any():
            continue
        reach = k.filter_reach[ox]
        fill_offsets(offsets, reach, 1)
        for i in range(rows):
            at = i * g.width
            convolve_row(
                work.plane, base + i * pitch, offsets, 0, k.filter, k.filter_at[ox], reach, ox == 1, work.ordered, at,
                g.width,
            )  # fmt: skip
        for d in range(6):
            if ORDER_X[d] == ox and needed[d]:
                oy = ORDER_Y[d]
                reach = k.filter_reach[oy]
                fill_offsets(offsets, reach, g.width)
                out = (d * slots + slot) * size
                convolve_row(
                    work.ordered, g.filter * g.width, offsets, 0, k.filter, k.filter_at[oy], reach, oy == 1,
                    work.derivative, out, size,
                )  # fmt: skip
    if wants_inner:
        reach = k.inner.size - 1
        fill_offsets(offsets, reach, 1)
        for i in range(rows):
            at = i * g.width
            convolve_row(
                work.plane, base + i * pitch, offsets, 0, k.inner, 0, reach, False, work.ordered, at, g.width
            )
        fill_offsets(offsets, reach, g.width)
        convolve_row(
            work.ordered, g.filter * g.width, offsets, 0, k.inner, 0, reach, False, work.inner, slot * size, size
        )


@jit
def _gradient_plane(g, k, work, slot):
    """In-plane passes of the gradient at the structure tensor's inner scale, into slot `slot` of its ring."""
    pitch = g.width + 2 * g.margin
    width = g.width + 2 * g.filter
    rows = g.rows + 2 * g.margin
    size = (g.rows + 2 * g.filter) * width
    slots = 2 * g.edge_z + 1
    offsets = np.empty(2 * g.edge + 1, np.int64)
    for ox in range(2):
        reach = k.edge_reach[ox]
        fill_offsets(offsets, reach, 1)
        for i in range(rows):
            base = i * pitch + g.edge
            convolve_row(
                work.plane, base, offsets, 0, k.edge, k.edge_at[ox], reach, ox == 1, work.ordered, i * width, width
            )
        for oy in range(2 - ox):
            reach = k.edge_reach[oy]
            fill_offsets(offsets, reach, width)
            component = 2 if ox == 1 else oy  # 0: towards z, 1: y, 2: x
            if component > 0 or not g.flat:
                convolve_row(
                    work.ordered, g.edge * width, offsets, 0, k.edge, k.edge_at[oy], reach, oy == 1, work.edge,
                    (component * slots + slot) * size, size,
                )  # fmt: skip


@jit
def _mirror_plane(plane, at, rows, width, y, x, height, breadth):
    """Overwrite what lies outside the image, in a plane whose first voxel is at (y, x), by reflection."""
    for i in range(rows):
        if y + i < 0 or y + i >= height:
            source = at + (mirror(y + i, height) - y) * width
            for j in range(width):
                plane[at + i * width + j] = plane[source + j]
    for j in range(width):
        if x + j < 0 or x + j >= breadth:
            source = mirror(x + j, breadth) - x
            for i in range(rows):
                plane[at + i * width + j] = plane[at + i * width + source]


@jit
def _multiply(a, b, out):
    for i in range(a.size):
        out[i] = a[i] * b[i]


@jit
def _tensor_plane(g, k, work, plane, slot):
    """Products of the gradient of image plane `plane`, smoothed along x and y, into slot `slot` of their ring."""
    width = g.width + 2 * g.filter
    rows = g.rows + 2 * g.filter
    size = rows * width
    core = g.rows * g.width
    slots = 2 * g.edge_z + 1
    offsets = np.empty(2 * max(g.edge, g.filter) + 1, np.int64)
    for axis in range(1 if g.flat else 0, 3):
        order = 1 if axis == 0 else 0
        reach = 0 if g.flat else k.edge_reach[order]
        fill_ring_offsets(offsets, reach, plane, g.depth, slots, size)
        taps = k.identity if g.flat else k.edge
        k0 = 0 if g.flat else k.edge_at[order]
        base = axis * slots * size
        convolve_row(work.edge, base, offsets, 0, taps, k0, reach, order == 1, work.plane, axis * size, size)
    reach = k.filter_reach[0]
    entry = 0
    for a in range(3):
        for b in range(a, 3):
            if a > 0 or not g.flat:
                _multiply(
                    work.plane[a * size : (a + 1) * size], work.plane[b * size : (b + 1) * size], work.product[:size]
                )
                _mirror_plane(work.product, 0, rows, width, g.y - g.filter, g.x - g.filter, g.height, g.breadth)
                fill_offsets(offsets, reach, 1)
                for i in range(rows):
                    convolve_row(
                        work.product, i * width + g.filter, offsets, 0, k.filter, k.filter_at[0], reach, False,
                        work.ordered, i * g.width, g.width,
                    )  # fmt: skip
                fill_offsets(offsets, reach, g.width)
                out = (entry * (2 * g.filter_z + 1) + slot) * core
                convolve_row(
                    work.ordered, g.filter * g.width, offsets, 0, k.filter, k.filter_at[0], reach, False, work.tensor,
                    out, core,
                )  # fmt: skip
            entry += 1


@jit
def _derive(g, k, work, d, order, plane, n, start, rows, row):
    """Rows of one derivative: in-plane derivative `d`, `order` along z, of voxels ``start:start + n`` of image plane `plane`."""
    slots = g.filter_z + g.margin_z + 1
    size = g.rows * g.width
    offsets = np.empty(2 * g.filter_z + 1, np.int64)
    reach = 0 if g.flat else k.filter_reach[order]
    fill_ring_offsets(offsets, reach, plane, g.depth, slots, size)
    taps = k.identity if g.flat else k.filter
    k0 = 0 if g.flat else k.filter_at[order]
    convolve_row(work.derivative, d * slots * size + start, offsets, 0, taps, k0, reach, order == 1, rows, row, n)


@jit
def _emit_linear(g, k, work, columns, plane, start, n, rows, slab, at, step):
    """Scalar features of voxels ``start:start + n``; `at` is where column 0 of them lies in the slab."""
    c = CHUNK
    if columns[SMOOTH] >= 0 or columns[DIFFERENCE] >= 0:
        _derive(g, k, work, YX00, 0, plane, n, start, rows, 0)
        smooth = rows[0:n]
        if columns[SMOOTH] >= 0:
            slab[at + columns[SMOOTH] * step : at + columns[SMOOTH] * step + n] = smooth
        if columns[DIFFERENCE] >= 0:
            slots = g.filter_z + g.margin_z + 1
            reach = 0 if g.flat else k.inner.size - 1
            offsets = np.empty(2 * reach + 1, np.int64)
            fill_ring_offsets(offsets, reach, plane, g.depth, slots, g.rows * g.width)
            taps = k.identity if g.flat else k.inner
            convolve_row(work.inner, start, offsets, 0, taps, 0, reach, False, rows, c, n)
            inner = rows[c : c + n]
            out = slab[at + columns[DIFFERENCE] * step : at + columns[DIFFERENCE] * step + n]
            for i in range(n):
                out[i] = smooth[i] - inner[i]
    if columns[GRADIENT] >= 0:
        _derive(g, k, work, YX01, 0, plane, n, start, rows, 0)
        _derive(g, k, work, YX10, 0, plane, n, start, rows, c)
        dx, dy, dz = rows[0:n], rows[c : c + n], rows[2 * c : 2 * c + n]
        out = slab[at + columns[GRADIENT] * step : at + columns[GRADIENT] * step + n]
        if g.flat:
            for i in range(n):
                out[i] = np.sqrt(dx[i] * dx[i] + dy[i] * dy[i])
        else:
            _derive(g, k, work, YX00, 1, plane, n, start, rows, 2 * c)
            for i in range(n):
                out[i] = np.sqrt((dx[i] * dx[i] + dy[i] * dy[i]) + dz[i] * dz[i])


@jit
def _emit_second(g, k, work, columns, plane, start, n, rows, slab, at, step):
    """Features of second derivatives: Laplacian and Hessian eigenvalues share xx, yy and zz."""
    c = CHUNK
    if columns[LAPLACIAN] < 0 and columns[HESSIAN] < 0:
        return
    zz, zy, zx = rows[0:n], rows[c : c + n], rows[2 * c : 2 * c + n]
    yy, yx, xx = rows[3 * c : 3 * c + n], rows[4 * c : 4 * c + n], rows[5 * c : 5 * c + n]
    _derive(g, k, work, YX20, 0, plane, n, start, rows, 3 * c)
    _derive(g, k, work, YX02, 0, plane, n, start, rows, 5 * c)
    if not g.flat:
        _derive(g, k, work, YX00, 2, plane, n, start, rows, 0)
    if columns[LAPLACIAN] >= 0:
        out = slab[at + columns[LAPLACIAN] * step : at + columns[LAPLACIAN] * step + n]
        if g.flat:
            for i in range(n):
                out[i] = xx[i] + yy[i]
        else:
            for i in range(n):
                out[i] = (xx[i] + yy[i]) + zz[i]
    if columns[HESSIAN] >= 0:
        _derive(g, k, work, YX11, 0, plane, n, start, rows, 4 * c)
        if not g.flat:
            _derive(g, k, work, YX10, 1, plane, n, start, rows, c)
            _derive(g, k, work, YX01, 1, plane, n, start, rows, 2 * c)
        _emit_eigenvalues(g.flat, zz, zy, zx, yy, yx, xx, slab, at + columns[HESSIAN] * step, step)


@jit
def _emit_tensor(g, k, work, columns, plane, start, n, rows, slab, at, step):
    """Structure tensor eigenvalues."""
    size = g.rows * g.width
    slots = 2 * g.filter_z + 1
    reach = 0 if g.flat else k.filter_reach[0]
    offsets = np.empty(2 * reach + 1, np.int64)
    fill_ring_offsets(offsets, reach, plane, g.depth, slots, size)
    taps = k.identity if g.flat else k.filter
    for entry in range(3 if g.flat else 0, 6):
        base = entry * slots * size + start
        convolve_row(work.tensor, base, offsets, 0, taps, 0, reach, False, rows, entry * CHUNK, n)
    c = CHUNK
    zz, zy, zx = rows[0:n], rows[c : c + n], rows[2 * c : 2 * c + n]
    yy, yx, xx = rows[3 * c : 3 * c + n], rows[4 * c : 4 * c + n], rows[5 * c : 5 * c + n]
    _emit_eigenvalues(g.flat, zz, zy, zx, yy, yx, xx, slab, at + columns[STRUCTURE] * step, step)


@jit
def _emit_eigenvalues(flat, zz, zy, zx, yy, yx, xx, slab, at, step):
    n = yy.size
    first, second = slab[at : at + n], slab[at + step : at + step + n]
    if flat:
        eigenvalues_2d(yy, yx, xx, first, second)
    else:
        eigenvalues_3d(zz, zy, zx, yy, yx, xx, first, second, slab[at + 2 * step : at + 2 * step + n])


@jit
def _presmooth(g, k, work, tile, position, plane):
    """Make presmoothed plane `plane`, taking as many raw planes into the ring as it needs."""
    if g.flat:
        _smooth_plane(g, k, work, tile, plane - g.first, work.plane, 0)
        return
    size = (g.rows + 2 * g.margin) * (g.width + 2 * g.margin)
    slots = 2 * g.smooth_z + 1
    while position[0] <= min(plane + g.smooth_z, g.depth - 1):
        raw = position[0]
        _smooth_plane(g, k, work, tile, raw - g.first, work.smooth, raw % slots * size)
        position[0] += 1
    offsets = np.empty(slots, np.int64)
    fill_ring_offsets(offsets, g.smooth_z, plane, g.depth, slots, size)
    convolve_row(work.smooth, 0, offsets, 0, k.smooth, 0, g.smooth_z, False, work.plane, 0, size)


@jit
def _needed_derivatives(columns, flat):
    """Which in-plane derivatives the wanted features read."""
    needed = np.zeros(6, np.bool_)
    second = columns[LAPLACIAN] >= 0 or columns[HESSIAN] >= 0
    needed[YX02] = needed[YX20] = second
    needed[YX11] = columns[HESSIAN] >= 0
    first = columns[GRADIENT] >= 0 or (columns[HESSIAN] >= 0 and not flat)
    needed[YX01] = needed[YX10] = first
    needed[YX00] = columns[SMOOTH] >= 0 or columns[DIFFERENCE] >= 0 or (not flat and (second or first))
    return needed


@jit
def advance(g, k, work, position, columns, tile, slab, start, stop):
    """Compute the wanted features of image planes ``start:stop``, which follow those of the call before.

    Parameters
    ----------
    g : Geometry
    k : Kernels
    work : Work
    position : ndarray, (3,), int64
        Next plane of the raw data, of the presmoothed planes and of the gradients' products; state between calls.
    columns : ndarray, (6,), int64
        First column of each feature, -1 where it is not wanted.
    tile : ndarray, float32, flat
        Raw planes from image plane ``g.first`` on, padded along y and x.
    slab : ndarray, float32, flat
        Output (columns, stop - start, rows, width).
    start, stop : int
        Image planes.
    """
    needed = _needed_derivatives(columns, g.flat)
    tensor = columns[STRUCTURE] >= 0
    last = g.depth - 1
    size = g.rows * g.width
    step = (stop - start) * size
    rows = np.empty(6 * CHUNK, np.float32)
    for plane in range(start, stop):
        while position[1] <= min(plane + g.margin_z, last):
            following = position[1]
            _presmooth(g, k, work, tile, position, following)
            slot = following % (g.filter_z + g.margin_z + 1)
            _filter_plane(g, k, work, needed, columns[DIFFERENCE] >= 0, slot)
            if tensor:
                _gradient_plane(g, k, work, following % (2 * g.edge_z + 1))
                if following - g.edge_z == position[2]:
                    _tensor_plane(g, k, work, position[2], position[2] % (2 * g.filter_z + 1))
                    position[2] += 1
            position[1] += 1
        # no gradient follows the last plane of an image that would trigger the remaining products
        while tensor and position[2] <= min(plane + g.filter_z, last):
            _tensor_plane(g, k, work, position[2], position[2] % (2 * g.filter_z + 1))
            position[2] += 1
        for at in range(0, size, CHUNK):
            n = min(CHUNK, size - at)
            out = (plane - start) * size + at
            _emit_linear(g, k, work, columns, plane, at, n, rows, slab, out, step)
            _emit_second(g, k, work, columns, plane, at, n, rows, slab, out, step)
            if tensor:
                _emit_tensor(g, k, work, columns, plane, at, n, rows, slab, out, step)
