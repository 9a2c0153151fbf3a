"""Merging pieces of a frame into a larger one: what meets is joined, what is complete is decided.

Two blocks that touch make the same list of meetings, whichever of them asks, so a meeting has a number that both sides
know. A group's meetings with what lies beyond are carried on under these numbers; two halves of one meeting that come
together in a larger group join their objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from numba_ops._jit import freeze
from numba_ops.components import join_pairs, number_trees
from pipeline.components import NO_PAIRS, OPEN, Labels, Numbers, Objects, Piece, Rules, decide, meet
from pipeline.label_tree import Cell, Tree, steps

MEETING_BITS = 28  # of a meeting's number, for its place in the list of two blocks: more than any two can have


@dataclass(frozen=True, eq=False)
class Border:
    """What neighbours must know of a block: the planes where they touch it, and which objects are meant.

    Parameters
    ----------
    faces, core_faces : mapping of str to ndarray
    fate, core_fate : ndarray
        All as in `pipeline.components`.
    """

    faces: Mapping[str, Labels]
    fate: Numbers
    core_faces: Mapping[str, Labels]
    core_fate: Numbers


@dataclass(frozen=True, eq=False)
class Meetings:
    """Which open objects of some pieces are the same, and which go on beyond all of them.

    Parameters
    ----------
    inner : ndarray, int64, (2, n)
        Numbers of open objects, counted through all pieces.
    outer : ndarray, int64, (2, n)
        As `Piece.edges`, objects counted through all pieces.
    """

    inner: Numbers
    outer: Numbers


def merge_blocks(
    tree: Tree, node: int, pieces: Sequence[Piece], border: Callable[[int], Border], rules: Rules
) -> Piece:
    """Merge the blocks of a node of level 1.

    Parameters
    ----------
    tree : Tree
    node : int
    pieces : sequence of Piece
        One for each child, in the tree's order.
    border : callable
        Gives the border of any block, also of those around the group.
    rules : Rules
    """
    children = tree.children(1, node)
    around = {there for child in children for _, _, there in tree.neighbours(child, steps(rules.connectivity))}
    borders = {block: border(block) for block in around.union(children)}
    objects = {block: (known.faces, known.fate) for block, known in borders.items()}
    cores = {block: (known.core_faces, known.core_fate) for block, known in borders.items()}
    counts, core_counts = [len(piece.sizes) for piece in pieces], [len(piece.core_sizes) for piece in pieces]
    meetings = _meet_at_faces(tree, children, counts, objects, rules.connectivity)
    core_meetings = _meet_at_faces(tree, children, core_counts, cores, rules.connectivity)
    return _merge(pieces, meetings, core_meetings, rules, listed=pieces)


def merge_groups(pieces: Sequence[Piece], rules: Rules, *, carry_listed: bool) -> Piece:
    """Merge the nodes of a node of level 2 and above.

    Parameters
    ----------
    pieces : sequence of Piece
        One for each child, in the tree's order.
    rules : Rules
    carry_listed : bool
        Whether the result lists the objects that its children decided, too.
    """
    meetings = _meet_again([piece.edges for piece in pieces], [len(piece.sizes) for piece in pieces])
    core_meetings = _meet_again([piece.core_edges for piece in pieces], [len(piece.core_sizes) for piece in pieces])
    return _merge(pieces, meetings, core_meetings, rules, listed=pieces if carry_listed else ())


def resolve(fate: Numbers, above: Sequence[tuple[Numbers, int]]) -> Numbers:
    """First voxel of the object that each object of a block belongs to, `REMOVED` where that is removed.

    Parameters
    ----------
    fate : ndarray, int64
        Of the block.
    above : sequence of (ndarray, int)
        From level 1 to the root: the node's fate, and where the objects of its child on the way begin in it.
    """
    fate = np.array(fate)
    for upper, offset in above:
        is_open = fate <= OPEN
        if not is_open.any():
            break
        fate[is_open] = upper[offset + OPEN - fate[is_open]]
    return fate


def _merge(
    pieces: Sequence[Piece], meetings: Meetings, core_meetings: Meetings, rules: Rules, listed: Sequence[Piece]
) -> Piece:
    offsets, core_offsets = (_offsets([len(getattr(p, name)) for p in pieces]) for name in ("sizes", "core_sizes"))
    number, n = _join(int(offsets[-1]), meetings.inner)
    core_number, n_cores = _join(int(core_offsets[-1]), core_meetings.inner)
    firsts, cored = np.full(n, np.iinfo(np.int64).max), np.zeros(n, bool)
    np.minimum.at(firsts, number, np.concatenate([piece.firsts for piece in pieces]))
    cored[number[np.concatenate([piece.cored for piece in pieces])]] = True
    shifts = zip(pieces, core_offsets, offsets, strict=False)
    pairs = np.concatenate([np.add(piece.pairs, (core, inside)) for piece, core, inside in shifts])
    codes = np.unique(core_number[pairs[:, 0]] * n + number[pairs[:, 1]])
    decided = decide(
        Objects(
            _add(number, [piece.sizes for piece in pieces], n),
            firsts,
            cored,
            _mark(number, meetings.outer[1], n),
            _add(core_number, [piece.core_sizes for piece in pieces], n_cores),
            _mark(core_number, core_meetings.outer[1], n_cores),
            np.stack([codes // max(n, 1), codes % max(n, 1)], axis=1),
        ),
        rules,
    )
    fate, core_fate = decided.fate[number], decided.core_fate[core_number]
    return replace(
        decided,
        fate=fate,
        core_fate=core_fate,
        listed=np.sort(np.concatenate([decided.listed, *(piece.listed for piece in listed)])),
        counts=np.sum([decided.counts, *(piece.counts for piece in pieces)], axis=0),
        edges=np.stack([meetings.outer[0], OPEN - fate[meetings.outer[1]]]),
        core_edges=np.stack([core_meetings.outer[0], OPEN - core_fate[core_meetings.outer[1]]]),
        offsets=offsets[:-1],
    )


def _join(n: int, inner: Numbers) -> tuple[Numbers, int]:
    parent, number = np.arange(n), np.empty(n, np.int64)
    join_pairs(parent, freeze(inner[0]), freeze(inner[1]))
    return number, number_trees(parent, number)


def _add(number: Numbers, values: Sequence[Numbers], n: int) -> Numbers:
    """Sums by number; exact, since no image has 2**53 voxels."""
    return np.bincount(number, np.concatenate(values), minlength=n).astype(np.int64)


def _mark(number: Numbers, chosen: Numbers, n: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    marked = np.zeros(n, bool)
    marked[number[chosen]] = True
    return marked


def _offsets(counts: Sequence[int]) -> Numbers:
    return np.cumsum([0, *counts])


def _meet_at_faces(
    tree: Tree,
    children: Sequence[int],
    counts: Sequence[int],
    borders: Mapping[int, tuple[Mapping[str, Labels], Numbers]],
    connectivity: str,
) -> Meetings:
    ways, reach = steps(connectivity), int(connectivity == "full")
    offset = dict(zip(children, _offsets(counts)[:-1].tolist(), strict=True))
    inner, outer = [NO_PAIRS.T], [NO_PAIRS.T]

    def name(block: int, labels: Numbers) -> Numbers:
        return offset[block] + OPEN - borders[block][1][labels - 1]

    for child in children:
        for number, sign, there in tree.neighbours(child, ways):
            if there in offset and sign < 0:
                continue  # met from the other side
            low, high = (child, there) if sign > 0 else (there, child)
            left, right = _slab(borders[low][0], ways[number], 1), _slab(borders[high][0], ways[number], -1)
            if left is None or right is None:
                continue
            pairs = meet(left, right, reach).T
            if there in offset:
                inner.append(np.stack([name(low, pairs[0]), name(high, pairs[1])]))
            else:
                first = (low * len(ways) + number) << MEETING_BITS
                outer.append(np.stack([first + np.arange(pairs.shape[1]), name(child, pairs[0 if sign > 0 else 1])]))
    beyond = np.concatenate(outer, axis=1)
    return Meetings(np.concatenate(inner, axis=1), beyond[:, np.argsort(beyond[0])])


def _slab(faces: Mapping[str, Labels], way: Cell, sign: int) -> Labels | None:
    """What of a block touches the neighbour on a way: a face, an edge or a corner, as a plane."""
    axis = next(i for i, step in enumerate(way) if step)
    face = faces.get(f"{'zyx'[axis]}{'+' if way[axis] * sign > 0 else '-'}")
    if face is None:
        return None
    parts = {0: slice(None), 1: slice(-1, None), -1: slice(0, 1)}
    return np.ascontiguousarray(face[tuple(parts[step * sign] for i, step in enumerate(way) if i != axis)])


def _meet_again(edges: Sequence[Numbers], counts: Sequence[int]) -> Meetings:
    joined = np.concatenate(
        [np.add(part, [[0], [offset]]) for part, offset in zip(edges, _offsets(counts), strict=False)], 1
    )
    joined = joined[:, np.argsort(joined[0], kind="stable")]
    again = np.flatnonzero(joined[0, 1:] == joined[0, :-1])
    alone = np.ones(joined.shape[1], bool)
    alone[again] = alone[again + 1] = False
    return Meetings(np.stack([joined[1, again], joined[1, again + 1]]), joined[:, alone])
