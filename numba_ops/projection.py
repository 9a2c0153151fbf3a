"""Rows of a few numbers: projected onto components, and taken through trees to their leaves, each row on its own.

A row's result does not depend on the rows beside it, as it would with a matrix product of BLAS, which sums in another
order for another number of rows. Sums are taken column by column in double.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_ops._jit import jit


@jit
def project_rows(rows: Any, components: Any, out: Any) -> None:
    """Project rows onto components.

    Parameters
    ----------
    rows : ndarray, (n, columns), uint8
    components : ndarray, (columns, k), float64
        Of each column its share in every component.
    out : ndarray, (n, k), float64
        Filled: for each row the sum over its columns, from the first to the last.
    """
    for i in range(rows.shape[0]):
        for k in range(components.shape[1]):
            out[i, k] = 0.0
        for j in range(rows.shape[1]):
            value = np.float64(rows[i, j])
            for k in range(components.shape[1]):
                out[i, k] += value * components[j, k]


@jit
def find_leaves(rows: Any, column: Any, threshold: Any, child: Any, roots: Any, out: Any) -> None:
    """Take rows through every tree of a forest.

    Parameters
    ----------
    rows : ndarray, (n, columns), float32
    column : ndarray, (nodes,), int32
        Tested column, -1 at leaves.
    threshold : ndarray, (nodes,), float64
        A row goes to the first child if ``float64(value) < threshold``.
    child : ndarray, (nodes, 2), int32
    roots : ndarray, (trees,), int32
    out : ndarray, (n, trees), int32
        Filled with the number of each row's leaf.
    """
    for i in range(rows.shape[0]):
        for t in range(roots.size):
            node = roots[t]
            while column[node] >= 0:
                first = np.float64(rows[i, column[node]]) < threshold[node]
                node = child[node, 0 if first else 1]
            out[i, t] = node
