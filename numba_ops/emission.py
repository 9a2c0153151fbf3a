"""Passes along z, and what is made point by point of the derivatives: features, written into the slab.

A few hundred voxels at a time go from the rings to a chunk of scratch, one row of it for each derivative, and from
there, still in the first-level cache, to the slab. In a 2-D scale the ring already holds the derivatives.
"""

# mypy: allow-untyped-defs
# Jitted functions carry no annotations: numba infers the types, and their docstrings tell them.

from __future__ import annotations

import numpy as np

from numba_ops._jit import jit
from numba_ops.eigen import eigenvalues_2d, eigenvalues_3d
from numba_ops.gaussian import convolve_rows, differentiate, fill_ring
from numba_ops.stack import DIFFERENCE, GRADIENT, HESSIAN, LAPLACIAN, SMOOTH, STRUCTURE
from numba_ops.tile import ALIGN, CHUNK, INNER, PLANES, YX00, YX01, YX02, YX10, YX11, YX20

# Rows of a chunk: in-plane derivatives as in the ring, then those with order 1 along z, then with order 2.
DZ, DZY, DZX, DZZ = PLANES + YX00, PLANES + YX10, PLANES + YX01, 2 * PLANES + YX00


@jit
def emit_plane(g, k, p, m, orders_z, columns, plane, slab, at, step):
    """Write all wanted features of image plane `plane` to ``slab[at:]``, columns `step` apart."""
    whole = g.pitch == g.width  # no gap between rows: the plane is one row
    rows = 1 if whole else g.rows
    length = g.rows * g.width if whole else g.width
    tensor = columns[STRUCTURE] >= 0
    for row in range(rows):
        for x in range(0, length, CHUNK):
            n = min(CHUNK, length - x)
            start, out = row * g.pitch + x, at + row * g.width + x
            if g.flat:
                _emit_chunk(g, m, p.derivative + start, g.size, columns, slab, out, step, n)
                if tensor:
                    _emit_tensor(g, m, p.tensor + start, g.size, columns, slab, out, step, n)
                continue
            _derive_chunk(g, k, p, m, orders_z, plane, start, -(-n // ALIGN) * ALIGN)
            _emit_chunk(g, m, p.chunk, CHUNK, columns, slab, out, step, n)
            if tensor:
                _smooth_tensor(g, k, p, m, plane, start, -(-n // ALIGN) * ALIGN)
                _emit_tensor(g, m, p.chunk, CHUNK, columns, slab, out, step, n)


@jit
def _derive_chunk(g, k, p, m, orders_z, plane, start, n):
    """All derivatives of ``start:start + n`` of a plane, by passes along z."""
    offsets = np.empty(2 * max(g.filter, k.inner.size) + 1, np.int64)
    fill_ring(offsets, plane - g.filter, 2 * g.filter + 1, g.depth, g.slots, g.size)
    for d in range(INNER):
        if orders_z[d] > 0:
            base = p.derivative + d * g.slots * g.size + start
            apart = PLANES * CHUNK
            differentiate(m, base, 0, offsets, k.filter, orders_z[d], m, p.chunk + d * CHUNK, apart, 0, 1, n)
    if orders_z[INNER] > 0:
        reach = k.inner.size - 1
        fill_ring(offsets, plane - reach, 2 * reach + 1, g.depth, g.slots, g.size)
        base = p.derivative + INNER * g.slots * g.size + start
        convolve_rows(m, base, 0, offsets, 0, k.inner, 0, reach, False, m, p.chunk + INNER * CHUNK, 0, 1, n)


@jit
def _smooth_tensor(g, k, p, m, plane, start, n):
    """The six smoothed products of ``start:start + n`` of a plane, by passes along z."""
    slots = 2 * g.filter_z + 1
    offsets = np.empty(2 * g.filter + 1, np.int64)
    fill_ring(offsets, plane - g.filter, 2 * g.filter + 1, g.depth, slots, g.size)
    for entry in range(6):
        base = p.tensor + entry * slots * g.size + start
        differentiate(m, base, 0, offsets, k.filter, 1, m, p.chunk + entry * CHUNK, 0, 0, 1, n)


@jit
def _emit_chunk(g, rows, at, apart, columns, slab, out, step, n):
    """Features of `n` voxels whose derivatives are rows of ``rows[at:]``, `apart` from each other."""
    smooth = rows[at + YX00 * apart :][:n]
    dy, yy = rows[at + YX10 * apart :][:n], rows[at + YX20 * apart :][:n]
    dx, yx = rows[at + YX01 * apart :][:n], rows[at + YX11 * apart :][:n]
    xx, inner = rows[at + YX02 * apart :][:n], rows[at + INNER * apart :][:n]
    if columns[SMOOTH] >= 0:
        _copy(smooth, slab[out + columns[SMOOTH] * step :][:n])
    if columns[DIFFERENCE] >= 0:
        _subtract(smooth, inner, slab[out + columns[DIFFERENCE] * step :][:n])
    if g.flat:
        if columns[GRADIENT] >= 0:
            _length_2d(dx, dy, slab[out + columns[GRADIENT] * step :][:n])
        if columns[LAPLACIAN] >= 0:
            _add_2d(xx, yy, slab[out + columns[LAPLACIAN] * step :][:n])
        if columns[HESSIAN] >= 0:
            to = out + columns[HESSIAN] * step
            eigenvalues_2d(yy, yx, xx, slab[to:][:n], slab[to + step :][:n])
        return
    dz, zz = rows[at + DZ * apart :][:n], rows[at + DZZ * apart :][:n]
    zy, zx = rows[at + DZY * apart :][:n], rows[at + DZX * apart :][:n]
    if columns[GRADIENT] >= 0:
        _length_3d(dx, dy, dz, slab[out + columns[GRADIENT] * step :][:n])
    if columns[LAPLACIAN] >= 0:
        _add_3d(xx, yy, zz, slab[out + columns[LAPLACIAN] * step :][:n])
    if columns[HESSIAN] >= 0:
        to = out + columns[HESSIAN] * step
        eigenvalues_3d(zz, zy, zx, yy, yx, xx, slab[to:][:n], slab[to + step :][:n], slab[to + 2 * step :][:n])


@jit
def _emit_tensor(g, rows, at, apart, columns, slab, out, step, n):
    """Structure tensor eigenvalues of `n` voxels; entries zz, zy, zx, yy, yx, xx are rows."""
    to = out + columns[STRUCTURE] * step
    yy, yx, xx = rows[at + 3 * apart :][:n], rows[at + 4 * apart :][:n], rows[at + 5 * apart :][:n]
    if g.flat:
        eigenvalues_2d(yy, yx, xx, slab[to:][:n], slab[to + step :][:n])
        return
    zz, zy, zx = rows[at:][:n], rows[at + apart :][:n], rows[at + 2 * apart :][:n]
    eigenvalues_3d(zz, zy, zx, yy, yx, xx, slab[to:][:n], slab[to + step :][:n], slab[to + 2 * step :][:n])


@jit
def _copy(a, out):
    for i in range(a.size):
        out[i] = a[i]


@jit
def _subtract(a, b, out):
    for i in range(a.size):
        out[i] = a[i] - b[i]


@jit
def _length_2d(dx, dy, out):
    for i in range(dx.size):
        out[i] = np.sqrt(dx[i] * dx[i] + dy[i] * dy[i])


@jit
def _length_3d(dx, dy, dz, out):
    for i in range(dx.size):
        out[i] = np.sqrt((dx[i] * dx[i] + dy[i] * dy[i]) + dz[i] * dz[i])


@jit
def _add_2d(xx, yy, out):
    for i in range(xx.size):
        out[i] = xx[i] + yy[i]


@jit
def _add_3d(xx, yy, zz, out):
    for i in range(xx.size):
        out[i] = (xx[i] + yy[i]) + zz[i]
