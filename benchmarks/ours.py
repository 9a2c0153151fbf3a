"""Our side of each comparison, in one place: what a contestant does, and nothing else, is timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from benchmarks.cases import Case, train
from numba_ops.features import slabs
from numba_ops.forest import predict_slab
from pipeline.blocks import Box, grid
from pipeline.plan import build_stack, build_stacks
from pipeline.prediction import StageModel, build_models, compute_frame
from pipeline.progress import Progress
from pipeline.project import Project
from pipeline.results import Result
from pipeline.run import Request, run
from pipeline.task_memory import tile_shape
from pipeline.volume import Volume

Array = npt.NDArray[Any]


def build_model(case: Case, depth: int) -> StageModel:
    """The stage of a case, ready to be evaluated on images of so many planes."""
    stage = train(case)
    return build_models([stage], build_stacks([stage], case.n_channels, depth))[0]


def halo_of(case: Case, depth: int) -> tuple[int, int, int]:
    """Voxels along z, y, x that a block needs around itself, in an image of so many planes."""
    return build_stack(case.features, case.n_channels, depth).halo_zyx


def compute_features(model: StageModel, raw: Array) -> Array:
    """Features of a whole image (c, z, y, x) as an array (columns, z, y, x)."""
    return compute_features_of(model, raw, Box((0, 0, 0, 0), (1, *raw.shape[1:])))


def compute_features_of(model: StageModel, raw: Array, box: Box) -> Array:
    """Features of a part of an image (c, z, y, x), as an array (columns, z, y, x)."""
    wanted = Result("features", ("",) * model.stack.n_columns, "float32")
    return compute_frame([model], [wanted], raw, (0, 0, 0), raw.shape[1:], box)["features"]


def stream_features(model: StageModel, raw: Array) -> None:
    """Features of a whole image as the forest gets them: slab by slab, each overwritten by the next."""
    image = raw.shape[1:]
    for tile in grid(Box((0, 0, 0, 0), (1, *image)), (1, image[0], *tile_shape(model.stack))):
        core = list(zip(tile.start[1:], tile.stop[1:], strict=True))
        for _ in slabs(raw, (0, 0, 0), image, core, model.stack):
            pass


@dataclass(frozen=True)
class Slabs:
    """Features of an image laid out as the forest gets them: place and values of each slab."""

    shape: tuple[int, ...]
    slabs: tuple[tuple[tuple[int, int, int], Array], ...]


def cut_slabs(model: StageModel, features: Array) -> Slabs:
    """Cut features (columns, z, y, x) into slabs of four planes over tiles."""
    image = features.shape[1:]
    found = []
    for box in grid(Box((0, 0, 0, 0), (1, *image)), (1, 4, *tile_shape(model.stack))):
        found.append((box.start[1:], np.ascontiguousarray(features[(slice(None), *box.slices()[1:])])))
    return Slabs(image, tuple(found))


def predict_slabs(model: StageModel, slabs: Slabs) -> Array:
    """Class probabilities (classes, z, y, x) of features."""
    out = np.empty((len(model.channels), *slabs.shape), np.float32)
    for place, values in slabs.slabs:
        predict_slab(model.trees, values, out, *place)
    return out


def predict_file(project: Project, volume: Volume, out: Path, workers: int, region: Box | None = None) -> float:
    """Predict into OME-Zarr; gives the seconds that the run itself reports."""
    return run(Request(project, volume, out, mode="overwrite", workers=workers, region=region), Progress()).seconds


def write_image(path: Path, values: Array, dims: str) -> Path:
    """Store an image in chunks of 64^3 voxels, or 512^2 of a plane."""
    edge = 64 if "z" in dims else 512
    chunks = tuple(1 if axis == "c" else min(edge, n) for axis, n in zip(dims, values.shape, strict=True))
    zarr.create_array(path, data=values, chunks=chunks, dimension_names=list(dims), fill_value=0)
    return path


def write_sparse(path: Path, shape: Sequence[int], corner: Array) -> Path:
    """Store a volume (z, y, x) of which only a corner is there; the rest reads as 0."""
    array = zarr.create_array(path, shape=tuple(shape), chunks=(64,) * 3, dtype=corner.dtype, fill_value=0)
    array[tuple(slice(0, n) for n in corner.shape)] = corner
    return path
