"""All trees of a forest for one brick of 64 voxels, level by level.

A node that voxels of the brick reach has a 64-bit mask of them; one comparison of 64 values parts it between the
children, and those that have a voxel are in the next level. No branch depends on the data, and what one node waits for,
memory above all, others make use of. Where leaves are for one class alone the rest is counting; otherwise leaves add
their probabilities tree by tree, so that nothing is added in another order than row by row. Source of the arithmetic:
SEMANTICS section 5.

Measured on one core with AVX-512, 41 features, ns a voxel with trees of 3, 84 and 533 nodes: 31, 102 and 229. A walk
tree by tree that decides nodes for the whole brick by the range of each feature, and branches: 41, 340 and 870.
"""

# mypy: allow-untyped-defs
# Jitted functions carry no annotations: numba infers the types, and their docstrings tell them.

from __future__ import annotations

import numpy as np

from numba_ops._jit import jit
from numba_ops.brick_vectors import PARTED, add_shares, below_mask, count_votes, part_nodes
from numba_ops.trees import BRICK

EVERY = np.uint64(0xFFFFFFFFFFFFFFFF)
NONE, ONE, SOME = np.uint64(0), np.uint64(1), np.uint64(PARTED)
ZERO = np.float32(0)
NUMBER = np.uint32(0x7FFFFFFF)  # bits of a leaf's code without the one that says that it is a leaf
AT_ONCE = 128  # trees that are walked at once: bounds the scratch
COUNTED = 255  # masks that `count_votes` takes at once


@jit
def _walk(trees, first, last, values, base, words, codes, room):
    """The leaves of trees ``first:last`` that the brick ``values[base:]`` reaches; the result is their number.

    words, codes: scratch in parts of `room`. Masks and codes of leaves are in the last part of each.
    """
    now, then, below, kids = NONE, room, room + room, room + room + room
    none_found = kids + room
    leaf_codes = room + room - none_found  # modulo 2^64
    n, found = NONE, none_found
    for t in range(first, last):
        codes[n] = trees.roots[t]
        words[n] = EVERY
        n += ONE
    while n > NONE:
        for i in range(n):
            node = trees.nodes[codes[now + i]]
            words[below + i] = below_mask(values, base + node.place, node.threshold)
            words[kids + i] = node.kids
        for i in range(n, n + SOME):
            words[now + i] = NONE
        inner = then
        for i in range(NONE, n, SOME):
            inner, found = part_nodes(words, codes, now + i, below + i, kids + i, inner, found, leaf_codes)
        n = inner - then
        now, then = then, now
    return found - none_found


@jit
def _note_votes(votes, masks, codes, found):
    """Add the masks of leaves to those of their slots."""
    for i in range(found):
        slot = np.uint64(codes[i] & NUMBER)
        votes[slot] |= masks[i]


@jit
def _count_group(trees, group, votes, out, sums, weight):
    """Add what a group of trees voted to the probabilities of a brick."""
    classes = trees.probability.shape[1]
    count = np.float32(trees.groups[group + 1] - trees.groups[group])
    rest = (classes - 1) * BRICK  # every tree votes once
    for i in range(rest):
        sums[i] = ZERO
    for lane in range(BRICK):
        sums[rest + lane] = count
        weight[lane] = count
    for k in range(classes - 1):
        last = trees.slots[group * classes + k + 1]
        for at in range(trees.slots[group * classes + k], last, COUNTED):
            count_votes(votes, at, min(last - at, COUNTED), sums, k * BRICK)
        for lane in range(BRICK):
            sums[rest + lane] -= sums[k * BRICK + lane]
    _add_mean(out, sums, weight, count)


@jit
def _sort_leaves(trees, first, last, masks, codes, found, leaf_masks, leaves, starts):
    """Masks and numbers of the leaves that were found, tree by tree, those of tree t from ``starts[t - first]`` on."""
    for t in range(last - first + 2):
        starts[t] = 0
    for i in range(found):
        starts[trees.tree[codes[i] & NUMBER] - first + 2] += 1
    for t in range(2, last - first + 2):
        starts[t] += starts[t - 1]
    for i in range(found):
        leaf = codes[i] & NUMBER
        t = trees.tree[leaf] - first + 1
        leaf_masks[starts[t]] = masks[i]
        leaves[starts[t]] = leaf
        starts[t] += 1


@jit
def _add_leaves(trees, first, last, group, masks, leaves, starts, out, sums, weight, totals):
    """Add sorted leaves of trees ``first:last`` to the sums of their group; the result is the unfinished group."""
    classes = trees.probability.shape[1]
    shares = trees.probability.reshape(-1)
    t = first
    while t < last:
        end = min(trees.groups[group + 1], last)
        at, n = starts[t - first], starts[end - first] - starts[t - first]
        for k in range(classes):
            add_shares(sums, k * BRICK, masks, leaves, at, n, shares, classes, k)
        if not trees.plain:
            add_shares(totals, 0, masks, leaves, at, n, trees.total, 1, 0)
        t = end
        if t == trees.groups[group + 1]:
            count = np.float32(t - trees.groups[group])
            for lane in range(BRICK):
                weight[lane] = count if trees.plain else np.float32(totals[lane])
            _add_mean(out, sums, weight, count)
            for i in range(sums.size):
                sums[i] = ZERO
            for lane in range(BRICK):
                totals[lane] = 0
            group += 1
    return group


@jit
def _add_mean(out, sums, weight, count):
    """Add ``sums / weight * count`` to the probabilities of a brick."""
    for k in range(0, out.size, BRICK):
        for lane in range(BRICK):
            out[k + lane] += sums[k + lane] / weight[lane] * count


@jit
def evaluate_brick(trees, values, base, out, sums, weight, totals, votes, words, codes, starts):
    """Probabilities (classes, 64) of the brick ``values[base:]``, (columns, 64); all flat, the others are scratch."""
    for i in range(out.size):
        out[i] = ZERO
        sums[i] = ZERO
    for lane in range(BRICK):
        totals[lane] = 0
    for slot in range(votes.size):
        votes[slot] = NONE
    room = words.size // 5
    masks, leaves = words[4 * room :], codes[2 * room :]
    group = 0
    for first in range(0, trees.roots.size, AT_ONCE):
        last = min(first + AT_ONCE, trees.roots.size)
        found = _walk(trees, first, last, values, np.uint64(base), words, codes, np.uint64(room))
        if trees.votes:
            _note_votes(votes, masks, leaves, found)
        else:
            _sort_leaves(trees, first, last, masks, leaves, found, words, codes, starts)
            group = _add_leaves(trees, first, last, group, words, codes, starts, out, sums, weight, totals)
    for group in range(trees.groups.size - 1 if trees.votes else 0):
        _count_group(trees, group, votes, out, sums, weight)
    count = np.float32(trees.roots.size)
    for i in range(out.size):
        out[i] /= count
