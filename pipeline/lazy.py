"""`predict`: results as lazy, labelled arrays.

Over a volume in a file, a result is one array-like object behind Dask: Dask hands slices down to it, so that a slice
costs its own voxels and their halo (a plane is computed as a plane). Any other array is itself the image, with its
borders, and is computed block by block. Both give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline import plan as planning
from pipeline import prediction
from pipeline.axes import ORDER
from pipeline.blocks import AXES, Box, Index
from pipeline.errors import PlanError
from pipeline.indexing import AxisIndex, full_key, select
from pipeline.plan import Plan
from pipeline.project import Project
from pipeline.results import Result
from pipeline.volume import Volume, volume_of

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
        Dims from ``t c z y x``; what `open_volume` returned, or any labelled array of integers, floats or bool. A part
        of a volume is an image of its own, with borders; to keep what is around it, predict first, then slice.
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
        uncertainty; features have ``feature`` in its place. Coordinates of the other dims are those of `raw`.

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
    arrays = _compute_lazily(raw, project, plan)
    labelled = {result.name: _label(arrays[result.name], result, raw, project) for result in plan.results}
    return labelled[output] if isinstance(output, str) else xarray.Dataset(labelled)


@dataclass(frozen=True, eq=False)
class PredictedArray:
    """One result over a whole volume, computed where it is indexed; an array-like for Dask.

    Parameters
    ----------
    task : Task
        Of one result.
    dims : str
        Dims of the result, in the order ``t c z y x``.
    block : tuple of int, (t, z, y, x)
        What one task computes of the whole.
    """

    task: prediction.Task
    dims: str
    block: Index

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
        """Compute the box around an index along `dims`, and index it; frames and planes far apart, each on its own."""
        parts = full_key(key, self.ndim)
        for axis, halo in (("t", 0), ("z", self.task.halo_zyx[0])):
            at = self.dims.find(axis)
            chosen = range(*parts[at].indices(self.shape[at])) if at >= 0 and isinstance(parts[at], slice) else range(0)
            if len(chosen) > 1 and abs(chosen.step) > 2 * halo + 1:
                place = sum(isinstance(part, slice) for part in parts[:at])
                pieces = [self[(*parts[:at], slice(i, i + 1), *parts[at + 1 :])] for i in chosen]
                return np.concatenate(pieces, axis=place)
        return self._compute_box(dict(zip(self.dims, parts, strict=True)))

    def merge_blocks(self, spans: Sequence[int]) -> list[int]:
        """How many blocks along each dim one task takes of a part that reaches so far.

        A slab is thinner than a block: its tasks get wider, as long as they read no more than a block does.
        """
        reach = dict(zip(self.dims, spans, strict=True))
        halo, size = dict(zip("zyx", self.task.halo_zyx, strict=True)), dict(zip(AXES, self.block, strict=True))
        merged = dict.fromkeys(ORDER, 1)

        def length(axis: str) -> int:
            return min(merged[axis] * size[axis], reach.get(axis, 1))

        most = math.prod(size[axis] + 2 * halo[axis] for axis in "zyx")
        while growing := [axis for axis in "xy" if length(axis) < reach[axis]]:
            axis = min(growing, key=length)
            merged[axis] *= 2
            if math.prod(length(other) + 2 * halo[other] for other in "zyx") > most:
                merged[axis] //= 2
                break
        return [merged[axis] for axis in self.dims]

    def _compute_box(self, keys: dict[str, Any]) -> npt.NDArray[Any]:
        spans = [AxisIndex.of(keys.get(axis, 0), n) for axis, n in zip(AXES, self.task.image.shape, strict=True)]
        box = Box(tuple(s.start for s in spans), tuple(s.stop for s in spans))  # type: ignore[arg-type]
        inside = [span.inside for span in spans]
        channels = [len(self._result.channels)] if "c" in self.dims else []
        inside[1:1] = [keys["c"]] if channels else []
        if 0 in box.shape:
            values = np.empty((box.shape[0], *channels, *box.shape[1:]), self.dtype)
        else:
            values = prediction.predict_block(self.task, box)[self._result.name]
        return np.asarray(select(values, inside), order="C")  # ascontiguousarray has no 0-D


def _compute_lazily(raw: xarray.DataArray, project: Project, plan: Plan) -> dict[str, Any]:
    """A Dask array for each result, over its own dims."""
    from pipeline.block_cells import predict_array, predict_cells

    volume = volume_of(raw)
    if volume is not None and len(plan.results) == 1:
        return {plan.results[0].name: _slice_lazily(volume, raw, project, plan)}
    if volume is not None:
        arrays = predict_cells(prediction.make_task(volume, project, plan), plan)
    else:
        full = raw.expand_dims([axis for axis in ORDER if axis not in raw.dims]).transpose(*ORDER)
        arrays = predict_array(full.data, project, plan)
    return {
        result.name: arrays[result.name][tuple(slice(None) if axis in _dims(raw, result) else 0 for axis in ORDER)]
        for result in plan.results
    }


def _slice_lazily(volume: Volume, raw: xarray.DataArray, project: Project, plan: Plan) -> Any:
    from dask.base import tokenize

    from pipeline.sliced import sliced_array

    (result,) = plan.results
    lazy = PredictedArray(prediction.make_task(volume, project, plan), _dims(raw, result), plan.block)
    sizes = dict(zip(AXES, plan.block, strict=True))
    block = [sizes.get(axis, len(result.channels)) for axis in lazy.dims]
    # The block is part of the name: under other limits, equal keys would mean other voxels.
    return sliced_array(lazy, block, f"predict-{tokenize(lazy.task.digest, block)}", lazy.merge_blocks)


def _label(data: Any, result: Result, raw: xarray.DataArray, project: Project) -> xarray.DataArray:
    import xarray

    channel = "feature" if result.name == "features" else "c"  # a Dataset would join the two by name
    dims = [channel if axis == "c" else axis for axis in _dims(raw, result)]
    coords: dict[Any, Any] = {
        name: coord
        for name, coord in raw.coords.items()
        if name not in ("c", "feature") and set(coord.dims) <= set(dims) - {channel}
    }
    if result.channels:
        coords[channel] = list(result.channels)
    return xarray.DataArray(
        data, dims=dims, coords=coords, name=result.name, attrs={**raw.attrs, "project": project.digest}
    )


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
