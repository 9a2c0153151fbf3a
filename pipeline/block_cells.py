"""Dask arrays of block results: several results from one pass, and blocks of arrays that are already in Dask.

A task gives all results of its block as one cell of an array of objects; an array for each result takes its own from
there. An array in Dask is cut so that no block is thinner than the halo, and `dask.array.overlap` joins neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
from dask.base import tokenize
from dask.delayed import delayed

from pipeline import prediction
from pipeline.blocks import Box
from pipeline.plan import Plan
from pipeline.project import Project
from pipeline.results import Result

Edges = tuple[tuple[int, ...], ...]
NO_CELL = np.empty((0,) * 5, object)


def predict_cells(task: prediction.Task, plan: Plan) -> dict[str, dask.array.Array]:
    """Results over a volume that tasks read themselves.

    Returns
    -------
    dict of str to dask.array.Array, (t, c, z, y, x)
        By output name; results without channels have c of length 1.
    """
    block = (plan.block[0], 1, *plan.block[1:])
    shape = (plan.image.shape[0], 1, *plan.image.shape[1:])
    edges = tuple(_cut(n, size) for n, size in zip(shape, block, strict=True))
    cells = dask.array.map_blocks(
        _predict_cell,
        chunks=_ones(edges),
        dtype=object,
        meta=NO_CELL,
        name=f"predict-{tokenize(task.digest, block)}",
        task=_shared(task),
        block=plan.block,
    )
    return _take_results(cells, plan.results, edges)


def predict_array(data: Any, project: Project, plan: Plan) -> dict[str, dask.array.Array]:
    """Results over an array that is its own image, whatever it was made from.

    Parameters
    ----------
    data : array-like or dask.array.Array, (t, c, z, y, x)
    project : Project
    plan : Plan

    Returns
    -------
    dict, as `predict_cells`
    """
    least = (1, data.shape[1], *(max(pair) for pair in zip(plan.block[1:], plan.halo_zyx, strict=True)))
    edges = tuple(_cut_evenly(n, size) for n, size in zip(data.shape, least, strict=True))
    blocks = dask.array.asarray(data).rechunk(edges)
    digest = prediction.run_digest(blocks.name, project, plan)
    # An axis in one piece has no neighbours, and may be shorter than the halo, which Dask refuses.
    depth = [halo if len(sizes) > 1 else 0 for halo, sizes in zip((0, 0, *plan.halo_zyx), edges, strict=True)]
    joined = dask.array.overlap.overlap(blocks, depth=dict(enumerate(depth)), boundary="none")
    cells = joined.map_blocks(
        _compute_cell,
        chunks=_ones(edges),
        dtype=object,
        meta=NO_CELL,
        name=f"predict-{tokenize(digest, edges)}",
        stages=_shared(prediction.build_models(project.stages, plan.stacks)),
        results=plan.results,
        halo_zyx=plan.halo_zyx,
        edges=edges,
    )
    return _take_results(cells, plan.results, edges)


def _shared(value: Any) -> Any:
    """The value as one key of the graph, on which all tasks depend."""
    return delayed(value, pure=True, traverse=False)


def _predict_cell(task: prediction.Task, block: Sequence[int], block_id: tuple[int, ...]) -> npt.NDArray[Any]:
    t, _, *zyx = block_id
    start = [i * n for i, n in zip((t, *zyx), block, strict=True)]
    stop = [min(a + n, m) for a, n, m in zip(start, block, task.image.shape, strict=True)]
    return _cell(prediction.predict_block(task, Box(tuple(start), tuple(stop))))  # type: ignore[arg-type]


def _compute_cell(
    data: npt.NDArray[Any],
    stages: Sequence[prediction.StageModel],
    results: Sequence[Result],
    halo_zyx: Sequence[int],
    edges: Edges,
    block_id: tuple[int, ...],
) -> npt.NDArray[Any]:
    image = [sum(sizes) for sizes in edges[2:]]
    start = [sum(sizes[:i]) for sizes, i in zip(edges[2:], block_id[2:], strict=True)]
    stop = [a + sizes[i] for a, sizes, i in zip(start, edges[2:], block_id[2:], strict=True)]
    origin = [max(a - h, 0) for a, h in zip(start, halo_zyx, strict=True)]
    core = Box((0, *start), (1, *stop))  # type: ignore[arg-type]
    frame = prediction.compute_frame(stages, results, data[0], origin, image, core)
    return _cell({name: values[None] for name, values in frame.items()})


def _cell(values: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    cell = np.empty((1,) * 5, object)
    cell[0, 0, 0, 0, 0] = values
    return cell


def _take_result(cell: npt.NDArray[Any], result: str) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = cell[0, 0, 0, 0, 0][result]
    return values if values.ndim == 5 else values[:, None]


def _take_results(cells: Any, results: Sequence[Result], edges: Edges) -> dict[str, dask.array.Array]:
    return {
        result.name: cells.map_blocks(
            _take_result,
            result.name,
            name=f"{cells.name}-{result.name}",
            chunks=(edges[0], (max(len(result.channels), 1),), *edges[2:]),
            dtype=np.dtype(result.dtype),
            meta=np.empty((0,) * 5, result.dtype),
        )
        for result in results
    }


def _ones(edges: Edges) -> Edges:
    return tuple((1,) * len(sizes) for sizes in edges)


def _cut(length: int, size: int) -> tuple[int, ...]:
    return tuple(min(size, length - start) for start in range(0, length, size))


def _cut_evenly(length: int, least: int) -> tuple[int, ...]:
    """Cut a length into pieces as equal as possible, none shorter than `least` if the length is not."""
    pieces = max(length // least, 1)
    return tuple(length * (i + 1) // pieces - length * i // pieces for i in range(pieces))
