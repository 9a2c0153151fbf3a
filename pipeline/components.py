"""Objects of one block, and what its neighbours and the frame must know of them.

A `Piece` is a part of a frame, a block or a group of blocks, of which some objects are *open*: they may go on beyond
it. All others are decided: kept, with the first voxel that will give them their number, or removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import cc3d
import numpy as np
import numpy.typing as npt

from numba_ops._jit import freeze
from numba_ops.components import CODE_SHIFT, measure_components, pair_labels, replace_labels
from pipeline.label_tree import Cell, Tree
from pipeline.thresholding import Thresholding

Labels = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NEIGHBOURS: dict[str, Literal[6, 26]] = {"face": 6, "full": 26}
"""Connectivity -> number of voxels around one that are connected with it."""
REMOVED = -1
OPEN = -2  # fate of open object 0; -3 of open object 1, and so on
COUNTS = ("found", "without_core", "too_small", "too_large", "kept", "cores_too_small", "cores_too_large")
NONE = np.empty(0, np.int64)
NO_PAIRS = np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class Rules:
    """What decides objects once they are complete.

    Parameters
    ----------
    thresholding : Thresholding
    connectivity : {"face", "full"}
    renumber : bool
        Whether only objects that are kept get numbers, so that there are no gaps.
    """

    thresholding: Thresholding
    connectivity: str = "face"
    renumber: bool = True


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects and cores of some part before they are decided.

    Parameters
    ----------
    sizes, firsts : ndarray, int64, (objects,)
        Voxels; smallest index of a voxel in the frame, in C order.
    cored : ndarray, bool, (objects,)
        Whether a core of the right size is known to be inside.
    is_open : ndarray, bool, (objects,)
        Whether there may be more of the object elsewhere.
    core_sizes, core_is_open : ndarray, (cores,)
    pairs : ndarray, int64, (n, 2)
        A core and an object that share voxels.
    """

    sizes: Numbers
    firsts: Numbers
    cored: Flags
    is_open: Flags
    core_sizes: Numbers
    core_is_open: Flags
    pairs: Numbers


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a frame whose closed objects are decided.

    Parameters
    ----------
    fate, core_fate : ndarray, int64
        Of each object and core that went in: first voxel if kept, `REMOVED`, or ``OPEN - k`` as open number k. Closed
        cores are `REMOVED`, whatever they decided.
    sizes, firsts, cored, core_sizes, pairs : ndarray
        As in `Objects`, of what is open.
    listed : ndarray, int64
        First voxels of decided objects that get a number, sorted.
    counts : ndarray, int64
        Of decided objects and cores, by `COUNTS`.
    edges, core_edges : ndarray, int64, (2, n)
        Meetings with objects beyond: the meeting's own number, which both sides know, ascending, and the open object.
    offsets : ndarray, int64
        Of a group: where the open objects of each of its pieces begin among those that went in.
    """

    fate: Numbers
    core_fate: Numbers
    sizes: Numbers
    firsts: Numbers
    cored: Flags
    core_sizes: Numbers
    pairs: Numbers
    listed: Numbers
    counts: Numbers
    edges: Numbers = field(default_factory=lambda: NO_PAIRS.reshape(2, 0))
    core_edges: Numbers = field(default_factory=lambda: NO_PAIRS.reshape(2, 0))
    offsets: Numbers = field(default_factory=lambda: NONE)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All arrays by name."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


@dataclass(frozen=True, eq=False)
class BlockObjects:
    """A block: its own numbers, what is decided of them, and the planes where neighbours touch it.

    Parameters
    ----------
    labels : ndarray, uint32, (z, y, x)
        Object k of `piece` has the number k + 1.
    piece : Piece
    faces, core_faces : dict of str to ndarray, uint32, 2-D
        Numbers in the planes that have a block behind them, named ``z-``, ``z+``, ``y-`` and so on; those of cores.
        Planes of zeros are left out.
    """

    labels: Labels
    piece: Piece
    faces: dict[str, Labels]
    core_faces: dict[str, Labels]


def decide(objects: Objects, rules: Rules) -> Piece:
    """Decide what is complete; an object stays open, too, as long as a core that it shares voxels with is open."""
    settings = rules.thresholding
    size_is_good, core_counts = _check_sizes(objects.core_sizes, ~objects.core_is_open, settings)
    cored = objects.cored.copy()
    core, inside = objects.pairs.T
    cored[inside[(~objects.core_is_open & size_is_good)[core]]] = True
    undecided = objects.core_is_open[core] & ~cored[inside]
    is_open = objects.is_open.copy()
    is_open[inside[undecided]] = True
    closed = ~is_open
    good, (small, large) = _check_sizes(objects.sizes, closed & cored, settings)
    kept = closed & cored & good
    fate = np.where(kept, objects.firsts, REMOVED)
    fate[is_open] = OPEN - np.arange(is_open.sum())
    core_fate = np.full(len(objects.core_sizes), REMOVED)
    core_fate[objects.core_is_open] = OPEN - np.arange(objects.core_is_open.sum())
    numbered = kept if rules.renumber else closed
    return Piece(
        fate,
        core_fate,
        objects.sizes[is_open],
        objects.firsts[is_open],
        cored[is_open],
        objects.core_sizes[objects.core_is_open],
        np.stack([OPEN - core_fate[core[undecided]], OPEN - fate[inside[undecided]]], axis=1),
        np.sort(objects.firsts[numbered]),
        np.array([closed.sum(), (closed & ~cored).sum(), small, large, kept.sum(), *core_counts]),
    )


def _check_sizes(sizes: Numbers, asked: Flags, settings: Thresholding) -> tuple[Flags, tuple[int, int]]:
    """Which sizes are allowed; how many of those asked about are too small and too large."""
    small, large = sizes < settings.min_size, sizes > settings.max_size
    return ~(small | large), (int((asked & small).sum()), int((asked & large).sum()))


def label_block(mask: Flags, cores: Flags | None, tree: Tree, block: int, rules: Rules) -> BlockObjects:
    """Find the objects of one block.

    Parameters
    ----------
    mask, cores : ndarray, bool, (z, y, x)
        Of the block alone; no cores unless thresholding is by hysteresis.
    tree : Tree
    block : int
        Its number.
    rules : Rules
    """
    labels, n = _connect(mask, rules.connectivity)
    sizes, firsts = np.zeros(n, np.int64), np.empty(n, np.int64)
    (z, y, x), (_, rows, columns) = tree.start(block), tree.image
    measure_components(labels, (z * rows + y) * columns + x, columns, rows * columns, sizes, firsts)
    touched = _touched_sides(tree, block)
    faces = _take_faces(labels, touched)
    if cores is None:
        core_faces, core_sizes, pairs = {}, NONE, NO_PAIRS
    else:
        flat = (-1, labels.shape[2])
        core_labels, n_cores = _connect(cores, rules.connectivity)
        core_faces = _take_faces(core_labels, touched)
        core_sizes = np.bincount(core_labels.ravel(), minlength=n_cores + 1)[1:].astype(np.int64)
        pairs = meet(core_labels.reshape(flat), labels.reshape(flat), reach=0) - 1
    objects = Objects(
        sizes,
        firsts,
        np.full(n, cores is None),
        _mark(faces, n),
        core_sizes,
        _mark(core_faces, len(core_sizes)),
        pairs,
    )
    return BlockObjects(labels, decide(objects, rules), faces, core_faces)


def meet(left: Labels, right: Labels, reach: int) -> Numbers:
    """Pairs of labels that meet where two planes lie on each other, sorted, each once, (n, 2)."""
    codes = np.empty(left.size * (9 if reach else 1), np.int64)
    pairs = np.unique(codes[: pair_labels(freeze(left), freeze(right), reach, codes)])
    return np.stack([pairs >> CODE_SHIFT, pairs & ((1 << CODE_SHIFT) - 1)], axis=1)


def number(firsts: Numbers, listed: Numbers) -> npt.NDArray[np.uint64]:
    """Ids of objects by their first voxels, their places in the sorted list; 0 for those that are removed."""
    return np.where(firsts == REMOVED, 0, np.searchsorted(listed, firsts) + 1).astype(np.uint64)


def rename(labels: Labels, ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The id of each voxel's object: ``ids[label - 1]``, 0 in the background."""
    table = np.concatenate([np.zeros(1, ids.dtype), ids])
    out = np.empty(labels.shape, ids.dtype)
    replace_labels(freeze(labels.reshape(-1)), table, out.reshape(-1))
    return out


def _connect(mask: Flags, connectivity: str) -> tuple[Labels, int]:
    """Components, numbered from 1."""
    around = NEIGHBOURS[connectivity]
    if around == 26:  # where every other voxel is set, cc3d 4.1.1 makes room for one label too few, unless it has a rim
        padded = np.pad(mask, ((0, 1), (0, 1), (0, 1)))
        labels, n = cc3d.connected_components(padded, connectivity=around, return_N=True, out_dtype="uint32")
        return np.ascontiguousarray(labels[:-1, :-1, :-1], np.uint32), n
    labels, n = cc3d.connected_components(mask, connectivity=around, return_N=True, out_dtype="uint32")
    return labels.astype(np.uint32, copy=False), n


def _touched_sides(tree: Tree, block: int) -> list[str]:
    cell: Cell = tree.cell(0, block)
    return [
        f"{axis}{side}"
        for axis, i, n in zip("zyx", cell, tree.grids[0], strict=True)
        for side, inside in (("-", i > 0), ("+", i < n - 1))
        if inside
    ]


def _take_faces(labels: Labels, sides: Sequence[str]) -> dict[str, Labels]:
    planes: dict[str, Labels] = {
        side: np.take(labels, -1 if side[1] == "+" else 0, axis="zyx".index(side[0])) for side in sides
    }
    return {side: plane for side, plane in planes.items() if plane.any()}


def _mark(faces: dict[str, Labels], n: int) -> Flags:
    """Which of n components lie in any of the faces."""
    marked = np.zeros(n + 1, bool)
    for face in faces.values():
        marked[face] = True
    return marked[1:]
