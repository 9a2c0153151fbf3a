"""The Dask graph of lazy labels: a task for each block, a tree of merges, and a task for each block to rename it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np
import numpy.typing as npt
from dask.array.core import concatenate3
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from pipeline.axes import ORDER
from pipeline.blocks import AXES, Box
from pipeline.components import Labels, Piece, label_block, number, rename
from pipeline.label_merging import Border, merge_blocks, merge_groups, resolve
from pipeline.label_records import pack, unpack
from pipeline.label_tree import Cell, steps
from pipeline.labelling import LabelPlan
from pipeline.sliced import SlicedArray

if TYPE_CHECKING:
    import xarray

Graph = dict[Any, Any]  # of Dask: keys and tasks


@dataclass(frozen=True, eq=False)
class PackedBlock:
    """A block between labelling and renaming: what the tree of merges needs, and its own numbers, compressed."""

    labels: bytes
    shape: Cell
    piece: Piece
    faces: Mapping[str, Labels]
    core_faces: Mapping[str, Labels]


def build_graph(prob: xarray.DataArray, plan: LabelPlan, channels: slice) -> dask.array.Array:
    """Labels of a map, as a Dask array over its dims without c.

    Parameters
    ----------
    prob : xarray.DataArray
        Dims of ``t c z y x`` in this order.
    plan : LabelPlan
        For the channels that are read.
    channels : slice
        Which these are.
    """
    data = dask.array.asarray(prob.data)
    dims = "".join(str(d) for d in prob.dims)
    name = f"labels-{tokenize(data.name, plan.digest, plan.block, channels)}"
    shared = (f"plan-{name}",)
    graph: Graph = {shared: plan}
    pieces = _Pieces(data, dims, f"source-{name}", graph)
    tree, blocks = plan.tree, f"blocks-{name}"
    for t in range(plan.image.shape[0]):
        for block in range(tree.n_nodes(0)):
            box = Box((t, *tree.start(block)), (t + 1, *tree.stop(block)))
            read = pieces.read(box.grow(plan.halo_zyx, plan.image), channels)
            graph[blocks, t, block] = (_label_block, shared, block, *read)
        for level in range(1, tree.top + 1):
            for node in range(tree.n_nodes(level)):
                graph[f"merge-{name}", t, level, node] = _merge_task(plan, shared, name, t, level, node)
    kept = [axis for axis in dims if axis != "c"]
    sizes = dict(zip(AXES, plan.block, strict=True))
    lengths = dict(zip(AXES, plan.image.shape, strict=True))
    chunks = [tuple(min(sizes[a], lengths[a] - i) for i in range(0, lengths[a], sizes[a])) for a in kept]
    for t, block in itertools.product(range(plan.image.shape[0]), range(tree.n_nodes(0))):
        place = dict(zip(AXES, (t, *tree.cell(0, block)), strict=True))
        names = tuple(_ancestors(plan, block))
        above = [(f"merge-{name}", t, level, node) for level, node, _ in names]
        at = tuple(place[axis] for axis in kept)
        key = (name, *at)
        graph[key] = (
            _rename_block,
            (blocks, t, block),
            above,
            [child for _, _, child in names],
            tuple(map(AXES.index, kept)),
        )
    layer = HighLevelGraph.from_collections(name, graph, dependencies=pieces.dependencies)
    return dask.array.Array(layer, name, chunks, meta=np.empty((0,) * len(kept), np.uint64))


class _Pieces:
    """How tasks get at boxes of an array: a sliced array reads them in one go, of any other the chunks are joined."""

    def __init__(self, data: dask.array.Array, dims: str, name: str, graph: Graph) -> None:
        self._data, self._dims, self._source = data, dims, (name,)
        self._sliced = isinstance(data, SlicedArray)
        if isinstance(data, SlicedArray):
            graph[self._source] = data.view_of_source
        self._starts = [np.cumsum([0, *sizes[:-1]]) for sizes in data.chunks]
        self.dependencies: list[Any] = [] if self._sliced else [data]

    def read(self, box: Box, channels: slice) -> tuple[Any, Sequence[slice], str]:
        """Arguments of a task that reads a box: its source, the slices of it, and the dims."""
        parts = dict(zip(AXES, box.slices(), strict=True))
        wanted = [parts.get(axis, channels) for axis in self._dims]
        if self._sliced:
            return self._source, wanted, self._dims
        spans = [
            range(int(np.searchsorted(starts, part.start, "right")) - 1, int(np.searchsorted(starts, part.stop)))
            for starts, part in zip(self._starts, wanted, strict=True)
        ]
        first = [int(starts[span[0]]) for starts, span in zip(self._starts, spans, strict=True)]
        inside = [slice(part.start - at, part.stop - at) for part, at in zip(wanted, first, strict=True)]
        return self._nest(spans, ()), inside, self._dims

    def _nest(self, spans: Sequence[range], index: tuple[int, ...]) -> Any:
        if not spans:
            return (self._data.name, *index)
        return [self._nest(spans[1:], (*index, i)) for i in spans[0]]


def _ancestors(plan: LabelPlan, block: int) -> Iterator[tuple[int, int, int]]:
    """Level and node above a block, up to the root, and the number of the child that leads to the block."""
    node = block
    for level in range(plan.tree.top):
        upper = plan.tree.parent(level, node)
        yield level + 1, upper, plan.tree.children(level + 1, upper).index(node)
        node = upper


def _merge_task(plan: LabelPlan, shared: tuple[str], name: str, t: int, level: int, node: int) -> tuple[Any, ...]:
    children = plan.tree.children(level, node)
    if level > 1:
        return _merge_groups, shared, [(f"merge-{name}", t, level - 1, child) for child in children]
    ways = steps(plan.rules.connectivity)
    around = {there for child in children for _, _, there in plan.tree.neighbours(child, ways)}
    numbers = sorted(around.union(children))
    return _merge_blocks, shared, node, numbers, [(f"blocks-{name}", t, block) for block in numbers]


def _label_block(plan: LabelPlan, block: int, source: Any, part: Sequence[slice], dims: str) -> PackedBlock:
    joined = concatenate3(source) if isinstance(source, list) else source
    values = np.asarray(joined[tuple(part)])
    places = tuple(slice(None) if axis in dims else np.newaxis for axis in ORDER)
    prob = values[places][0]
    mask, cores = plan.smoother.masks(prob, plan.tree.start(block), plan.tree.stop(block))
    found = label_block(mask, cores, plan.tree, block, plan.rules)
    z, y, x = found.labels.shape
    return PackedBlock(pack(found.labels), (z, y, x), found.piece, found.faces, found.core_faces)


def _merge_blocks(plan: LabelPlan, node: int, numbers: Sequence[int], blocks: Sequence[PackedBlock]) -> Piece:
    known = dict(zip(numbers, blocks, strict=True))

    def border(number: int) -> Border:
        block = known[number]
        return Border(block.faces, block.piece.fate, block.core_faces, block.piece.core_fate)

    pieces = [known[child].piece for child in plan.tree.children(1, node)]
    return merge_blocks(plan.tree, node, pieces, border, plan.rules)


def _merge_groups(plan: LabelPlan, pieces: Sequence[Piece]) -> Piece:
    return merge_groups(pieces, plan.rules, carry_listed=True)


def _rename_block(
    block: PackedBlock, above: Sequence[Piece], children: Sequence[int], axes: Sequence[int]
) -> npt.NDArray[np.uint64]:
    chain = [(piece.fate, int(piece.offsets[child])) for piece, child in zip(above, children, strict=True)]
    ids = number(resolve(block.piece.fate, chain), above[-1].listed)
    labels = rename(unpack(block.labels, np.uint32, block.shape), ids)[None]
    return labels.reshape([labels.shape[axis] for axis in axes])
