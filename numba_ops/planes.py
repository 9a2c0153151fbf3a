"""Passes along x and y: from a raw plane to its presmoothed one, and on to in-plane derivatives.

Borders: raw data comes padded by reflection along x and y, which is right for everything but the products of the
gradient (a reflected gx * gy has the wrong sign): those are reflected again.
"""

# mypy: allow-untyped-defs
# Jitted functions carry no annotations: numba infers the types, and their docstrings tell them.

from __future__ import annotations

import numpy as np

from numba_ops._jit import jit
from numba_ops.gaussian import (
    convolve_rows,
    differentiate,
    fill_offsets,
    fill_ring,
    mirror,
    smooth_across,
    smooth_along,
)
from numba_ops.tile import BAND, GROUP, INNER, YX00, YX01, YX02, YX10, YX11, YX20


@jit
def smooth_plane(g, k, p, m, tile, plane, at):
    """Smooth raw plane `plane` of the tile along x and y into ``m[at:]``."""
    rows = g.rows + 2 * (g.margin + g.smooth)
    skip = g.pad - g.margin
    base = (plane * (g.rows + 2 * g.pad) + skip - g.smooth) * g.raw_pitch + skip
    offsets = np.empty(max(rows, 2 * g.smooth + 1 + GROUP), np.int64)
    pitch = g.wide_pitch
    smooth_along(tile, base, g.raw_pitch, offsets, k.smooth, g.smooth, m, p.rows, pitch, rows, pitch, m, p.turned)
    for i in range(rows):
        offsets[i] = i * g.wide_pitch
    smooth_across(m, p.rows, offsets, k.smooth, g.smooth, m, at, pitch, g.rows + 2 * g.margin, pitch)


@jit
def filter_plane(g, k, p, m, orders_z, plane, slot):
    """Differentiate the presmoothed plane at `plane` along x and y into slot `slot` of the ring."""
    rows = g.rows + 2 * g.filter
    apart = rows * g.pitch
    step = g.slots * g.size
    base = p.plane + plane + (g.margin - g.filter) * g.wide_pitch + g.margin
    out = p.derivative + slot * g.size
    core = g.rows * g.pitch
    orders_y = (
        (orders_z[YX00] > 0) + 2 * (orders_z[YX10] > 0) + 4 * (orders_z[YX20] > 0),
        (orders_z[YX01] > 0) + 2 * (orders_z[YX11] > 0),
        1 * (orders_z[YX02] > 0),
    )
    orders_x = (orders_y[0] > 0) + 2 * (orders_y[1] > 0) + 4 * (orders_y[2] > 0)
    offsets = np.empty(2 * max(k.filter.widest, k.inner.size) + 1, np.int64)
    if orders_x > 0:
        fill_offsets(offsets, k.filter.widest, 1)
        differentiate(m, base, g.wide_pitch, offsets, k.filter, orders_x, m, p.ordered, apart, g.pitch, rows, g.pitch)
        fill_offsets(offsets, k.filter.widest, g.pitch)
        centre = p.ordered + g.filter * g.pitch
        for x, first in enumerate((YX00, YX01, YX02)):
            if orders_y[x] > 0:
                start, to = centre + x * apart, out + first * step
                differentiate(m, start, 0, offsets, k.filter, orders_y[x], m, to, step, 0, 1, core)
    if orders_z[INNER] > 0:
        reach = k.inner.size - 1
        fill_offsets(offsets, reach, 1)
        convolve_rows(m, base, g.wide_pitch, offsets, 0, k.inner, 0, reach, False, m, p.ordered, g.pitch, rows, g.pitch)
        fill_offsets(offsets, reach, g.pitch)
        start, to = p.ordered + g.filter * g.pitch, out + INNER * step
        convolve_rows(m, start, 0, offsets, 0, k.inner, 0, reach, False, m, to, 0, 1, core)


@jit
def gradient_plane(g, k, p, m, plane, slot):
    """In-plane passes of the gradient at the structure tensor's inner scale, into slot `slot` of its ring.

    Components are what the pass along z will make of them: towards z, y and x.
    """
    rows = g.rows + 2 * g.margin
    apart = rows * g.edge_pitch
    step = (2 * g.edge_z + 1) * g.edge_size
    n = (g.rows + 2 * g.filter) * g.edge_pitch
    offsets = np.empty(2 * k.edge.widest + 1, np.int64)
    fill_offsets(offsets, k.edge.widest, 1)
    base, pitch = p.plane + plane + g.edge, g.edge_pitch
    differentiate(m, base, g.wide_pitch, offsets, k.edge, 3, m, p.ordered, apart, pitch, rows, pitch)
    fill_offsets(offsets, k.edge.widest, g.edge_pitch)
    centre = p.ordered + g.edge * g.edge_pitch
    out = p.edge + slot * g.edge_size
    differentiate(m, centre, 0, offsets, k.edge, 2 if g.flat else 3, m, out, step, 0, 1, n)
    differentiate(m, centre + apart, 0, offsets, k.edge, 1, m, out + 2 * step, step, 0, 1, n)


@jit
def _multiply_rows(a, b, out, rows, pitch, x, breadth, width):
    """Products of a band, reflected where they lie outside the image; the band's first column is image column `x`."""
    for i in range(rows * pitch):
        out[i] = a[i] * b[i]
    left, right = max(-x, 0), min(breadth - x, width)
    for row in range(0, rows * pitch if left > 0 or right < width else 0, pitch):
        for j in range(left):
            out[row + j] = out[row + mirror(x + j, breadth) - x]
        for j in range(right, width):
            out[row + j] = out[row + mirror(x + j, breadth) - x]


@jit
def tensor_plane(g, k, p, m, plane, slot):
    """Products of the gradient of image plane `plane`, smoothed along x and y, into slot `slot` of their ring."""
    rows = g.rows + 2 * g.filter
    apart = rows * g.pitch
    y = g.y - g.filter
    top, bottom = max(-y, 0), min(g.height - y, rows)
    for row in range(top, bottom, BAND):
        _multiply_band(g, k, p, m, plane, row, min(BAND, bottom - row), apart)
    offsets = np.empty(2 * k.filter.widest + 1, np.int64)
    fill_offsets(offsets, k.filter.widest, g.pitch)
    for entry in range(3 if g.flat else 0, 6):
        for row in range(rows):
            if row < top or row >= bottom:
                source = p.ordered + entry * apart + (mirror(y + row, g.height) - y) * g.pitch
                target = p.ordered + entry * apart + row * g.pitch
                for j in range(g.pitch):
                    m[target + j] = m[source + j]
        base = p.ordered + entry * apart + g.filter * g.pitch
        to = p.tensor + (entry * (2 * g.filter_z + 1) + slot) * g.size
        differentiate(m, base, 0, offsets, k.filter, 1, m, to, 0, 0, 1, g.rows * g.pitch)


@jit
def _multiply_band(g, k, p, m, plane, row, rows, apart):
    """From the gradient's ring to products smoothed along x, for a few rows, all in the first-level cache."""
    size = rows * g.edge_pitch
    slots = 2 * g.edge_z + 1
    offsets = np.empty(2 * max(k.edge.widest, k.filter.widest) + 1, np.int64)
    at, step = p.edge + row * g.edge_pitch, slots * g.edge_size
    if not g.flat:
        fill_ring(offsets, plane - k.edge.widest, 2 * k.edge.widest + 1, g.depth, slots, g.edge_size)
        for axis in range(3):
            orders = 2 if axis == 0 else 1
            to = p.product + (axis - (1 if axis == 0 else 0)) * size  # order 1 goes one place further
            differentiate(m, axis * step + at, 0, offsets, k.edge, orders, m, to, size, 0, 1, size)
        at, step = p.product, size
    fill_offsets(offsets, k.filter.widest, 1)
    product, x, width = p.product + 3 * size, g.x - g.filter, g.width + 2 * g.filter
    entry = 0
    for a in range(3):
        for b in range(a, 3):
            if a > 0 or not g.flat:
                one, two = m[at + a * step :], m[at + b * step :]
                _multiply_rows(one, two, m[product:], rows, g.edge_pitch, x, g.breadth, width)
                base, to = product + g.filter, p.ordered + entry * apart + row * g.pitch
                differentiate(m, base, g.edge_pitch, offsets, k.filter, 1, m, to, 0, g.pitch, rows, g.pitch)
            entry += 1
