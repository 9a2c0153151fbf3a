"""The tasks of labelling a map that is larger than memory, and the files that they leave for each other.

Each task writes one file, which is whole or absent, and may run twice. Nothing holds more than a group's open objects,
or one part of the sorted list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.blocks import Box
from pipeline.components import NONE, REMOVED, Labels, Numbers, Piece, Rules, label_block, number, rename
from pipeline.label_merging import Border, merge_blocks, merge_groups, resolve
from pipeline.label_records import Record, write_record
from pipeline.label_tree import Tree
from pipeline.smoother import Smoother

PART_OBJECTS = 1 << 22  # of one part of the sorted list: 32 MiB
BINS = 4096  # of the histogram of first voxels by which the list is cut
FOLDER_FILES = 1000
FACES, CORE_FACES, PIECE = "face ", "core face ", "piece "


class Source(Protocol):
    """What gives the voxels of a map: a `Volume`, or anything picklable that reads."""

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Voxels of a box, (t, c, z, y, x)."""


class Place(NamedTuple):
    """A block (level 0) or a group of one time step."""

    t: int
    level: int
    node: int


class Part(NamedTuple):
    """A part of the sorted list of one time step: objects whose first voxels are ``low <= index < high``."""

    t: int
    low: int
    high: int
    before: int  # objects in the parts before it


@dataclass(frozen=True, eq=False)
class Work:
    """What all tasks of one labelling share; small and picklable.

    Parameters
    ----------
    image : Box
    tree : Tree
    rules : Rules
    smoother : Smoother
    folder : Path
    """

    image: Box
    tree: Tree
    rules: Rules
    smoother: Smoother
    folder: Path

    def places(self, level: int) -> Iterator[Place]:
        """All nodes of a level."""
        return (Place(t, level, k) for t in range(self.image.shape[0]) for k in range(self.tree.n_nodes(level)))

    def box(self, block: Place) -> Box:
        """The voxels of a block."""
        start, stop = self.tree.start(block.node), self.tree.stop(block.node)
        return Box((block.t, *start), (block.t + 1, *stop))

    def path(self, place: Place) -> Path:
        """File of a node."""
        group = self.folder / str(place.t) / str(place.level) / str(place.node // FOLDER_FILES)
        return group / f"{place.node}.objects"

    def part_path(self, part: Part) -> Path:
        """File of a part of the sorted list."""
        return self.folder / str(part.t) / "sorted" / f"{part.low}.objects"

    def record(self, place: Place) -> Record:
        """What a node's task wrote."""
        return Record(self.path(place))

    def counts(self) -> list[Numbers]:
        """What became of the objects of each time step, once the roots are merged."""
        return [self.record(Place(t, self.tree.top, 0))[PIECE + "counts"] for t in range(self.image.shape[0])]

    def parts(self) -> list[Part]:
        """How the sorted lists are cut, once the roots are merged."""
        return [part for t in range(self.image.shape[0]) for part in self._parts_of_frame(t)]

    def _parts_of_frame(self, t: int) -> Iterator[Part]:
        counts = self.record(Place(t, self.tree.top, 0))["histogram"]
        before = np.concatenate([[0], np.cumsum(counts)])
        first = 0
        while first < BINS:
            last = max(int(np.searchsorted(before, before[first] + PART_OBJECTS, side="right")) - 1, first + 1)
            yield Part(t, first * self.bin_width, last * self.bin_width, int(before[first]))
            first = last

    @property
    def bin_width(self) -> int:
        """Voxels of a bin of the histogram."""
        _, z, y, x = self.image.shape
        return -(-z * y * x // BINS)

    def count(self, listed: Numbers) -> Numbers:
        """Histogram of first voxels."""
        return np.bincount(listed // self.bin_width, minlength=BINS)


def label(work: Work, source: Source, place: Place) -> None:
    """Find the objects of a block, and write its own numbers, its piece of the frame and its faces."""
    box = work.box(place)
    prob = source.read(box.grow(work.rules.thresholding.halo_zyx(work.image.shape[1:]), work.image))
    mask, cores = work.smoother.masks(prob[0], box.start[1:], box.stop[1:])
    del prob
    found = label_block(mask, cores, work.tree, place.node, work.rules)
    faces = {FACES + side: face for side, face in found.faces.items()}
    core_faces = {CORE_FACES + side: face for side, face in found.core_faces.items()}
    write_record(work.path(place), _named(found.piece), {"labels": found.labels, **faces, **core_faces})


def merge(work: Work, place: Place) -> None:
    """Merge what a node covers."""
    children = [work.record(place._replace(level=place.level - 1, node=k)) for k in _children(work, place)]
    pieces = [_read_piece(record) for record in children]
    if place.level == 1:
        piece = merge_blocks(work.tree, place.node, pieces, lambda block: _border(work, place.t, block), work.rules)
        histogram = work.count(piece.listed)
    else:
        piece = merge_groups(pieces, work.rules, carry_listed=False)
        histogram = np.sum([work.count(piece.listed), *(record["histogram"] for record in children)], axis=0)
    write_record(work.path(place), {"histogram": histogram, **_named(piece)})


def sort(work: Work, part: Part) -> None:
    """Sort a part of the list of first voxels of objects that get a number."""
    found = []
    _, _, rows, columns = work.image.shape
    for level in range(1, work.tree.top + 1):
        for node in range(work.tree.n_nodes(level)):
            first, last = work.tree.planes(level, node)
            if first * rows * columns < part.high and part.low < last * rows * columns:
                listed = work.record(Place(part.t, level, node)).look_into(PIECE + "listed")
                found.append(np.array(listed[slice(*np.searchsorted(listed, (part.low, part.high)))]))
    write_record(work.part_path(part), {"listed": np.sort(np.concatenate(found))})


def relabel(
    work: Work,
    parts: Sequence[Part],
    write: Callable[[Box, npt.NDArray[np.uint64]], None],
    place: Place,
) -> None:
    """Replace a block's own numbers by ids, and write them."""
    block = work.record(place)
    above, at = [], place
    while at.level < work.tree.top:
        upper = at._replace(level=at.level + 1, node=work.tree.parent(at.level, at.node))
        record = work.record(upper)
        offset = record[PIECE + "offsets"][_children(work, upper).index(at.node)]
        above.append((record.look_into(PIECE + "fate"), int(offset)))
        at = upper
    firsts = resolve(block[PIECE + "fate"], above)
    ids = _look_up(work, [part for part in parts if part.t == place.t], firsts)
    write(work.box(place), rename(block["labels"], ids)[None])


def _look_up(work: Work, parts: Sequence[Part], firsts: Numbers) -> npt.NDArray[np.uint64]:
    """Ids of objects by their first voxels, 0 for those that are removed."""
    ids = np.zeros(len(firsts), np.uint64)
    which = np.searchsorted([part.low for part in parts], firsts, side="right") - 1
    for k in np.unique(which[firsts != REMOVED]):
        here = np.flatnonzero((which == k) & (firsts != REMOVED))
        listed = Record(work.part_path(parts[k])).look_into("listed")
        ids[here] = number(firsts[here], listed) + np.uint64(parts[k].before)
    return ids


def _children(work: Work, place: Place) -> list[int]:
    return work.tree.children(place.level, place.node)


def _named(piece: Piece) -> dict[str, npt.NDArray[Any]]:
    return {PIECE + name: array for name, array in piece.arrays().items()}


def _read_piece(record: Record) -> Piece:
    """A piece as merging needs it, without what is only looked up later."""
    late = ("fate", "core_fate", "offsets")
    arrays: dict[str, Any] = {
        part.name: NONE if part.name in late else record[PIECE + part.name] for part in fields(Piece)
    }
    return Piece(**arrays)


def _border(work: Work, t: int, block: int) -> Border:
    record = work.record(Place(t, 0, block))
    fate, core_fate = (record.look_into(PIECE + name) for name in ("fate", "core_fate"))
    return Border(_Faces(record, FACES), fate, _Faces(record, CORE_FACES), core_fate)


class _Faces(Mapping[str, Labels]):
    """Faces of a block, read when they are asked for."""

    def __init__(self, record: Record, prefix: str) -> None:
        self._record, self._prefix = record, prefix

    @cached_property
    def _names(self) -> dict[str, str]:
        return {name.removeprefix(self._prefix): name for name in self._record.names() if name.startswith(self._prefix)}

    def __getitem__(self, side: str) -> Labels:
        return self._record[self._names[side]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
