"""A classifier of small cubes: components that a cube's voxels are projected onto, and a forest that decides.

Its file is an .npz of plain arrays, described in docs/reference/models.md: `load_model` reads it, `CubeModel.write`
makes one. Everything that classifying relies on is checked when it is loaded, once.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from numba_ops.projection import find_leaves, project_rows
from pipeline.analyses.model_arrays import ARRAYS, FORMAT, VERSION, decode_parts, digest_of
from pipeline.analyses.tree_arrays import TREE_ARRAYS
from pipeline.array_archive import read_arrays
from pipeline.config import settings
from pipeline.durability import write_errors, write_file
from pipeline.errors import ModelError, StoreError
from pipeline.forest import Forest

CHANNELS = ("GABA", "GAD", "Gephyrin", "GluN", "PSD", "synapsin", "TdTomato", "VGlut")
"""What the names of the channels contain that the published classifier looks at, in the order of its columns."""

HALF_WIDTHS = (7, 4, 4)
"""Voxels (z, y, x) that a cube of the published classifier reaches to either side of its middle."""

CLASS_NAMES = ("non-GABA", "GABA")


@dataclass(frozen=True, eq=False)
class CubeModel:
    """A classifier of cubes; made by `load_model` and `build_model`, which check it.

    Parameters
    ----------
    channels : tuple of str
        For each channel what its name contains, case ignored.
    half_widths : tuple of int, (z, y, x)
        Voxels that a cube reaches to either side of its middle.
    class_names : tuple of str
        Of the classes 1, 2, ... that `classify` returns.
    components : ndarray, (k, n), float64
        n voxels: those of the cube of the first channel in C order (z, y, x), then of the second, and so on.
    forest : Forest
        Over k features, which are compared as float32 with float64 thresholds.
    arrays : mapping of str to ndarray
        The same as the file has it.
    digest : str
        32 hexadecimal digits over the arrays.
    """

    channels: tuple[str, ...]
    half_widths: tuple[int, int, int]
    class_names: tuple[str, ...]
    components: npt.NDArray[np.float64]
    forest: Forest
    arrays: Mapping[str, npt.NDArray[Any]]
    digest: str

    @property
    def cube_shape(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) of a cube."""
        z, y, x = (2 * half + 1 for half in self.half_widths)
        return z, y, x

    def project(self, cubes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Project cubes onto the components; no mean is subtracted.

        Parameters
        ----------
        cubes : ndarray, (m, channels, z, y, x) or (m, n), uint8
            With fewer channels the rows meet the first columns of the components alone: so the original did where
            channels were missing.

        Returns
        -------
        ndarray, (m, k), float64
            Each row the same to the bit, whatever rows are beside it.

        Raises
        ------
        ValueError
            For cubes of another type, or larger than the model's.
        """
        k, n = self.components.shape
        rows = np.ascontiguousarray(cubes).reshape(len(cubes), -1 if len(cubes) else n)
        if rows.dtype != np.uint8 or rows.shape[1] > n:
            wanted = f"uint8 of (m, {len(self.channels)}, {', '.join(map(str, self.cube_shape))})"
            raise ValueError(f"cubes are {rows.dtype} of shape {cubes.shape}, not {wanted}")
        out = np.empty((len(rows), k))
        project_rows(rows, np.ascontiguousarray(self.components.T[: rows.shape[1]]), out)
        return out

    def probabilities(self, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """What the trees say on average, (m, classes) float64, of rows (m, k) as `project` returns them.

        Raises
        ------
        ValueError
            For rows of another length.
        """
        rows, forest = np.ascontiguousarray(features, np.float32), self.forest
        if rows.ndim != 2 or rows.shape[1] != forest.n_columns:
            raise ValueError(f"features have the shape {rows.shape}, not (m, {forest.n_columns})")
        leaves = np.empty((len(rows), forest.n_trees), np.int32)
        find_leaves(rows, forest.column, forest.threshold, forest.child, forest.roots, leaves)
        total = np.zeros((len(rows), forest.n_classes))
        for tree in range(forest.n_trees):  # one after the other, as scikit-learn adds them
            total += forest.probability[leaves[:, tree]]
        return total / forest.n_trees

    def classify(self, cubes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """The class of each cube, (m,): 1, 2, ... in the order of `class_names`; of equals the first wins."""
        return self.probabilities(self.project(cubes)).argmax(axis=1) + 1

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the arrays as an .npz file, which is whole or absent.

        Raises
        ------
        StoreError
            If the name does not end in .npz, its folder is missing, or it exists and is not to be overwritten.
        """
        place = check_model_path(path, overwrite)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{name: self.arrays[name] for name in ARRAYS})  # type: ignore[arg-type]
        with write_errors(place):
            write_file(place, buffer.getvalue())

    def __repr__(self) -> str:
        cube = " x ".join(map(str, self.cube_shape))
        return (
            f"<CubeModel of {cube} voxels in {len(self.channels)} channels: {len(self.components)} components, "
            f"{self.forest.n_trees} trees, classes {', '.join(self.class_names)}>"
        )


def build_model(
    components: npt.NDArray[np.float64],
    trees: Mapping[str, npt.NDArray[Any]],
    *,
    channels: Sequence[str] = CHANNELS,
    half_widths: Sequence[int] = HALF_WIDTHS,
    class_names: Sequence[str] | None = None,
    source: str = "the model",
) -> CubeModel:
    """A model of components and trees.

    Parameters
    ----------
    components : ndarray, (k, n), float64
    trees : mapping of str to ndarray
        ``offsets``, ``classes`` and the arrays of nodes, as `pipeline.analyses.tree_arrays.decode_forest` takes them.
    channels, half_widths, class_names : sequence, optional
        By default those of the published classifier; with other than two classes their numbers are the names.
    source : str
        Where all that comes from, for messages.

    Raises
    ------
    ModelError
        With the code ``bad_model``, naming the array and what is wrong with it.
    """
    if class_names is None:
        numbers = trees["classes"].tolist()
        class_names = CLASS_NAMES if len(numbers) == len(CLASS_NAMES) else [f"class {number}" for number in numbers]
    arrays = {
        "format": np.array(FORMAT),
        "version": np.array(VERSION),
        "channels": np.array(channels, np.str_),
        "half_widths": np.array(half_widths, np.int64),
        "class_names": np.array(class_names, np.str_),
        "components": np.ascontiguousarray(components),
        **{name: trees[name] for name in TREE_ARRAYS},
    }
    return _decode(arrays, source)


def load_model(path: str | os.PathLike[str]) -> CubeModel:
    """Read a model from an .npz file; nothing in it is executed.

    Raises
    ------
    ModelError
        Code ``not_npz`` if it is unreadable, ``too_large`` above the setting `model_bytes`, ``bad_model`` for contents
        that are no classifier: sizes that do not fit, trees with cycles, numbers that are none.
    """
    return _decode(read_arrays(path, ARRAYS, settings().model_bytes), os.fspath(path))


def check_model_path(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Where a model is to be written, absolute; refused before any work.

    Raises
    ------
    StoreError
        If the name does not end in .npz, its folder is missing, or it exists and is not to be overwritten.
    """
    place = Path(path).absolute()
    if place.suffix != ".npz":
        raise StoreError(f"{path}: a model is a file that ends in .npz")
    if not place.parent.is_dir():
        raise StoreError(f"{path}: there is no folder {place.parent}; make it first")
    if place.exists() and not overwrite:
        raise StoreError(f"{path} exists; choose another name or --overwrite")
    return place


def _decode(arrays: Mapping[str, npt.NDArray[Any]], source: str) -> CubeModel:
    try:
        parts = decode_parts(arrays)
    except ModelError as error:
        raise ModelError(f"{source} {error.message}", error.code) from None
    return CubeModel(**parts._asdict(), arrays=arrays, digest=digest_of(arrays))
