"""Loops over labelled voxels and over joined labels: measuring, meeting at faces, union-find, renumbering.

Labels are uint32, 0 is background. Indices of components count from 0: component i has label i + 1.
"""

# mypy: allow-untyped-defs
# Jitted functions carry no annotations: numba infers the types, and their docstrings tell them.

from __future__ import annotations

from numba_ops._jit import jit

CODE_SHIFT = 32  # a pair of labels is one int64: the left one above this bit, the right one below


@jit
def measure_components(labels, base, row, plane, sizes, firsts):
    """Voxels and first voxel of each component.

    Parameters
    ----------
    labels : ndarray, uint32, (z, y, x)
    base : int
        Index in the image of the first voxel; `row` and `plane` are the steps of y and z.
    row, plane : int
    sizes : ndarray, int64, (components,)
        Zeros; becomes the number of voxels.
    firsts : ndarray, int64, (components,)
        Becomes the smallest index in the image.
    """
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            at = base + z * plane + y * row
            x = 0
            while x < labels.shape[2]:
                label = labels[z, y, x]
                begin = x
                x += 1
                while x < labels.shape[2] and labels[z, y, x] == label:
                    x += 1
                if label:
                    if sizes[label - 1] == 0:
                        firsts[label - 1] = at + begin
                    sizes[label - 1] += x - begin


@jit
def pair_labels(left, right, reach, codes):
    """Labels that meet where two arrays of the same shape lie on each other.

    Parameters
    ----------
    left, right : ndarray, uint32, (rows, columns)
    reach : int
        0: voxels meet at the same place; 1: also at the eight places around it.
    codes : ndarray, int64
        Room for the pairs, ``left << CODE_SHIFT | right``; some come more than once. Holds a pair for each place, nine
        with a reach of 1.

    Returns
    -------
    int
        Number of pairs.
    """
    rows, columns = left.shape
    n = 0
    last = 0
    for y in range(rows):
        for x in range(columns):
            if left[y, x] == 0:
                continue
            a = left[y, x] << CODE_SHIFT
            for v in range(max(y - reach, 0), min(y + reach + 1, rows)):
                for u in range(max(x - reach, 0), min(x + reach + 1, columns)):
                    code = a | right[v, u]
                    if right[v, u] and code != last:
                        codes[n] = last = code
                        n += 1
    return n


@jit
def find_root(parent, i):
    """The root of an element's tree, whose paths become half as long."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@jit
def join_pairs(parent, left, right):
    """Join the trees of the elements of each pair; the smallest element becomes the root."""
    for i in range(len(left)):
        a = find_root(parent, left[i])
        b = find_root(parent, right[i])
        if a < b:
            parent[b] = a
        else:
            parent[a] = b


@jit
def number_trees(parent, number):
    """Number the trees by their smallest elements, 0, 1, ...; fills in the number of each element.

    Returns
    -------
    int
        How many trees there are.
    """
    n = 0
    for i in range(len(parent)):
        root = find_root(parent, i)
        if root == i:
            number[i] = n
            n += 1
        else:
            number[i] = number[root]
    return n


@jit
def replace_labels(labels, ids, out):
    """Write ``ids[label]`` for each voxel of flat arrays."""
    for i in range(len(labels)):
        out[i] = ids[labels[i]]
