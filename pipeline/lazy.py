"""`predict`: results as lazy, labelled arrays.

Over a volume in a file, a result is one array-like object behind Dask: Dask hands slices down to it, so that a slice
costs its own voxels and their halo (a plane is computed as a plane). Over any other Dask array, neighbouring blocks
are joined by `dask.array.overlap`, and the array itself is the image, with its borders. Both give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline import plan as planning
from pipeline import prediction
from pipeline.axes import ORDER
from pipeline.blocks import AXES, Box
from pipeline.errors import PlanError
from pipeline.indexing import AxisIndex, full_key, select
from pipeline.plan import Plan, Result
from pipeline.prediction import Task
from pipeline.project import Project
from pipeline.sliced import sliced_array
from pipeline.volume import volume_of

if TYPE_CHECKING:
    import xarray


def predict(
    raw: xarray.DataArray,
    project: Project,
    *,
    output: str | Sequence[str] = "probabilities",
    dtype: str = "float32",
    stage: int | None = None,
) -> xarray.DataArray | xarray.Dataset:
    """Predict lazily.

    Parameters
    ----------
    raw : xarray.DataArray
        Dims from ``t c z y x``; what `open_volume` returned, or any labelled array of integers or floats.
    project : Project
    output : str or sequence of str
        ``probabilities``, ``segmentation`` (1 + index of the most probable class), ``uncertainty`` or ``features``.
        Several share one pass and come as a Dataset; they are computed block by block, a single one as sliced.
    dtype : {"float32", "uint8", "uint16"}
        Type of probabilities and uncertainty; integers hold 0..1 as 0..max.
    stage : int, optional
        Stage of an Autocontext project; the last by default.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        Dims of `raw` in the order ``t c z y x``; ``c`` holds the class names, and is missing in segmentation and
        uncertainty; features have ``feature`` in its place.

    Raises
    ------
    PlanError
        If data, project and request do not fit each other.

    Examples
    --------
    >>> prob = predict(raw, project)  # doctest: +SKIP
    >>> prob.sel(c="Nucleus").isel(z=40)[:512, :512].compute()  # doctest: +SKIP
    """
    import xarray

    names = [output] if isinstance(output, str) else list(output)
    raw = _check_dims(raw)
    dims = "".join(str(d) for d in raw.dims)
    length = dict(zip(dims, raw.shape, strict=True))
    plan = planning.make(
        Box.whole([length.get(axis, 1) for axis in AXES]),
        length.get("c", 1),
        str(raw.dtype),
        dims,
        project,
        outputs=names,
        stored_type=dtype,
        stage=stage,
    )
    arrays = _from_volume(raw, project, plan) if volume_of(raw) is not None else _from_array(raw, project, plan)
    labelled = {
        name: xarray.DataArray(
            data,
            dims=[channel if axis == "c" else axis for axis in _dims(raw, result)],
            coords={channel: list(result.channels)} if result.channels else None,
            name=name,
            attrs={**raw.attrs, "project": project.digest},
        )
        for (name, data), result in zip(arrays.items(), plan.results, strict=True)
        for channel in ["feature" if name == "features" else "c"]  # a Dataset would join the two by name
    }
    return labelled[names[0]] if isinstance(output, str) else xarray.Dataset(labelled)


@dataclass(frozen=True, eq=False)
class PredictedArray:
    """One result over a whole volume, computed where it is indexed; an array-like for Dask.

    Parameters
    ----------
    task : Task
        Of one result.
    dims : str
        Dims of the result, in the order ``t c z y x``.
    """

    task: Task
    dims: str

    @property
    def _result(self) -> Result:
        return self.task.results[0]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Lengths along `dims`."""
        lengths = dict(zip(AXES, self.task.image.shape, strict=True))
        return tuple(lengths.get(axis, len(self._result.channels)) for axis in self.dims)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the result."""
        return np.dtype(self._result.dtype)

    @property
    def ndim(self) -> int:
        """Number of `dims`."""
        return len(self.dims)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Compute the box around an index along `dims`, and index it."""
        keys = dict(zip(self.dims, full_key(key, self.ndim), strict=True))
        spans = [AxisIndex.of(keys.get(axis, 0), n) for axis, n in zip(AXES, self.task.image.shape, strict=True)]
        box = Box(tuple(s.start for s in spans), tuple(s.stop for s in spans))  # type: ignore[arg-type]
        inside = [span.inside for span in spans]
        channels = [len(self._result.channels)] if "c" in self.dims else []
        inside[1:1] = [keys["c"]] if channels else []
        if 0 in box.shape:
            values = np.empty((box.shape[0], *channels, *box.shape[1:]), self.dtype)
        else:
            values = prediction.predict_block(self.task, box)[self._result.name]
        return np.ascontiguousarray(select(values, inside))


def _from_volume(raw: xarray.DataArray, project: Project, plan: Plan) -> dict[str, Any]:
    """Results over a volume in a file."""
    import dask.array

    volume = volume_of(raw)
    assert volume is not None
    task = prediction.make_task(volume, project, plan)
    if len(plan.results) > 1:
        sizes = (plan.block[0], 1, *plan.block[1:])
        shape = (plan.image.shape[0], 1, *plan.image.shape[1:])
        cells = tuple((1,) * -(-n // size) for n, size in zip(shape, sizes, strict=True))
        blocks = dask.array.map_blocks(  # type: ignore[no-untyped-call]
            _predict_cell,
            chunks=cells,
            dtype=object,
            meta=_NO_CELL,
            name=f"predict-{task.digest}",
            task=_shared(task),
            block=plan.block,
        )
        edges = tuple(_edges(n, size) for n, size in zip(shape, sizes, strict=True))
        return _take_results(blocks, plan, edges, raw)
    result = plan.results[0]
    lazy = PredictedArray(task, _dims(raw, result))
    sizes = dict(zip(AXES, plan.block, strict=True))
    chunks = [sizes.get(axis, len(result.channels)) for axis in lazy.dims]
    array = sliced_array(lazy, chunks, f"predict-{task.digest}")
    return {result.name: array}


def _from_array(raw: xarray.DataArray, project: Project, plan: Plan) -> dict[str, Any]:
    """Results over an array that is its own image, whatever it was made from."""
    import dask.array

    full = raw.expand_dims([axis for axis in ORDER if axis not in raw.dims]).transpose(*ORDER)
    t, c, z, y, x = full.shape
    edges = tuple(
        _even(n, max(block, halo))
        for n, block, halo in zip((t, c, z, y, x), (1, c, *plan.block[1:]), (0, 0, *plan.halo_zyx), strict=True)
    )
    blocks = dask.array.asarray(full.data).rechunk(edges)  # type: ignore[no-untyped-call]
    name = dask.base.tokenize(blocks.name, project.digest, [(r.name, r.dtype) for r in plan.results], len(plan.stacks))
    joined = dask.array.overlap.overlap(  # type: ignore[no-untyped-call]
        blocks, depth=dict(enumerate((0, 0, *plan.halo_zyx))), boundary="none"
    )
    cells = joined.map_blocks(
        _compute_cell,
        chunks=tuple((1,) * len(sizes) for sizes in edges),
        dtype=object,
        meta=_NO_CELL,
        name=f"predict-{name}",
        stages=_shared(prediction.build_models(project.stages, plan.stacks)),
        results=plan.results,
        halo_zyx=plan.halo_zyx,
        edges=edges,
    )
    return _take_results(cells, plan, edges, raw)


_NO_CELL = np.empty((0,) * 5, object)


def _shared(value: Any) -> Any:
    """The value as one key of the graph, on which all tasks depend."""
    from dask.delayed import delayed

    return delayed(value, pure=True, traverse=False)


def _predict_cell(task: Task, block: Sequence[int], block_id: tuple[int, ...]) -> npt.NDArray[Any]:
    t, _, *zyx = block_id
    start = [i * n for i, n in zip((t, *zyx), block, strict=True)]
    stop = [min(a + n, m) for a, n, m in zip(start, block, task.image.shape, strict=True)]
    return _cell(prediction.predict_block(task, Box(tuple(start), tuple(stop))))  # type: ignore[arg-type]


def _compute_cell(
    data: npt.NDArray[Any],
    stages: Sequence[prediction.StageModel],
    results: Sequence[Result],
    halo_zyx: Sequence[int],
    edges: Sequence[Sequence[int]],
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
    """All results of a block as the one element of an array of objects."""
    cell = np.empty((1,) * 5, object)
    cell[0, 0, 0, 0, 0] = values
    return cell


def _take_result(cell: npt.NDArray[Any], result: str) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = cell[0, 0, 0, 0, 0][result]
    return values if values.ndim == 5 else values[:, None]


def _take_results(
    cells: Any, plan: Plan, edges: Sequence[Sequence[int]], raw: xarray.DataArray
) -> dict[str, Any]:
    arrays = {}
    for result in plan.results:
        chunks = (edges[0], (max(len(result.channels), 1),), *edges[2:])
        dtype = np.dtype(result.dtype)
        full = cells.map_blocks(
            _take_result,
            result.name,
            name=f"{cells.name}-{result.name}",
            chunks=chunks,
            dtype=dtype,
            meta=np.empty((0,) * 5, dtype),
        )
        kept = _dims(raw, result)
        arrays[result.name] = full[tuple(slice(None) if axis in kept else 0 for axis in ORDER)]
    return arrays


def _edges(length: int, size: int) -> tuple[int, ...]:
    return tuple(min(size, length - start) for start in range(0, length, size))


def _even(length: int, least: int) -> tuple[int, ...]:
    """Cut a length into pieces as equal as possible, none shorter than `least` if the length is not."""
    pieces = max(length // least, 1)
    return tuple(length * (i + 1) // pieces - length * i // pieces for i in range(pieces))


def _dims(raw: xarray.DataArray, result: Result) -> str:
    """Dims of a result: those of the data in canonical order, c only where the result has channels."""
    return "".join(axis for axis in ORDER if (axis == "c" and result.channels) or (axis != "c" and axis in raw.dims))


def _check_dims(raw: xarray.DataArray) -> xarray.DataArray:
    names = [str(d) for d in raw.dims]
    if not set(names) <= set(ORDER):
        raise PlanError(f"dims {', '.join(names)}; allowed are t, c, z, y, x: rename them", code="axes")
    if raw.dtype.kind not in "buif":
        raise PlanError(f"dtype {raw.dtype}; allowed are integers, floats and bool", code="dtype")
    ordered = [axis for axis in ORDER if axis in names]
    return raw if names == ordered else raw.transpose(*ordered)
