"""One scale of one channel over one tile, plane by plane along z.

1. A raw plane is smoothed along x and y and goes into a ring of planes; a pass along z over that ring gives the next
   presmoothed planes. No plane is smoothed twice for the sake of a z halo.
2. The presmoothed plane is differentiated along x and y, once per order that any wanted feature needs, into a second
   ring. For the structure tensor its gradient goes through a ring of its own, and the six products of the gradient,
   smoothed along x and y, into another.
3. Passes along z over these rings give all derivatives of one plane, and features are written from there into the slab.

In a scale that is filtered in 2-D, every reach along z is 0 and every ring has one plane.
Along z, ring positions are reflected at the image's ends.
"""

# mypy: allow-untyped-defs
# Jitted functions carry no annotations: numba infers the types, and their docstrings tell them.

from __future__ import annotations

import numpy as np

from numba_ops._jit import jit
from numba_ops.emission import emit_plane
from numba_ops.gaussian import fill_ring, smooth_across
from numba_ops.planes import filter_plane, gradient_plane, smooth_plane, tensor_plane
from numba_ops.stack import STRUCTURE
from numba_ops.tile import GROUP

# What has been done so far: the next plane of each kind.
RAW, PRESMOOTHED, FILTERED, PRODUCTS = range(4)


@jit
def _presmooth(g, k, p, m, tile, done, last):
    """Make the next presmoothed planes, a few but none after `last`, taking as many raw planes as they need."""
    first = done[PRESMOOTHED]
    if g.flat:
        smooth_plane(g, k, p, m, tile, first - g.first, p.plane)
        done[PRESMOOTHED] = first + 1
        return
    count = min(GROUP, last + 1 - first)
    slots = 2 * g.smooth_z + GROUP
    while done[RAW] <= min(first + count - 1 + g.smooth_z, g.depth - 1):
        raw = done[RAW]
        smooth_plane(g, k, p, m, tile, raw - g.first, p.smooth + raw % slots * g.wide_size)
        done[RAW] = raw + 1
    offsets = np.empty(2 * g.smooth_z + count, np.int64)
    fill_ring(offsets, first - g.smooth_z, offsets.size, g.depth, slots, g.wide_size)
    n = (g.rows + 2 * g.margin) * g.wide_pitch
    smooth_across(m, p.smooth, offsets, k.smooth, g.smooth_z, m, p.plane, g.wide_size, count, n)
    done[PRESMOOTHED] = first + count


@jit
def advance(g, k, p, m, done, orders_z, columns, tile, slab, start, stop):
    """Compute the wanted features of image planes ``start:stop``, which follow those of the call before.

    Parameters
    ----------
    g : Geometry
    k : Kernels
    p : Places
    m : ndarray, float32, flat
        Memory of the stream.
    done : ndarray, (4,), int64
        The next raw, presmoothed and differentiated plane, and that of the gradient's products; state between calls.
    orders_z : ndarray, (7,), int64
        `Scale.orders_z`.
    columns : ndarray, (6,), int64
        First column of each feature, -1 where it is not wanted.
    tile : ndarray, float32, flat
        Raw planes from image plane ``g.first`` on, padded along y and x.
    slab : ndarray, float32, flat
        Output (columns, stop - start, rows, width).
    start, stop : int
        Image planes.
    """
    tensor = columns[STRUCTURE] >= 0
    last = g.depth - 1
    area = g.rows * g.width
    first = done[FILTERED]
    for plane in range(start, stop):
        while done[FILTERED] <= min(plane + g.margin_z, last):
            following = done[FILTERED]
            if following == done[PRESMOOTHED]:
                first = following
                _presmooth(g, k, p, m, tile, done, min(stop - 1 + g.margin_z, last))
            place = (following - first) * g.wide_size
            filter_plane(g, k, p, m, orders_z, place, following % g.slots)
            if tensor:
                gradient_plane(g, k, p, m, place, following % (2 * g.edge_z + 1))
                if following - g.edge_z == done[PRODUCTS]:
                    tensor_plane(g, k, p, m, done[PRODUCTS], done[PRODUCTS] % (2 * g.filter_z + 1))
                    done[PRODUCTS] += 1
            done[FILTERED] = following + 1
        # no gradient follows the last plane of an image that would trigger the remaining products
        while tensor and done[PRODUCTS] <= min(plane + g.filter_z, last):
            tensor_plane(g, k, p, m, done[PRODUCTS], done[PRODUCTS] % (2 * g.filter_z + 1))
            done[PRODUCTS] += 1
        emit_plane(g, k, p, m, orders_z, columns, plane, slab, (plane - start) * area, (stop - start) * area)
