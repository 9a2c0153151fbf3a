"""Training a random forest on annotated voxels, and what makes it a project."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import PlanError
from pipeline.features import FeatureSelection
from pipeline.forest import forest_of_sklearn
from pipeline.plan import build_stack
from pipeline.project import Color, Stage


def train_stage(
    raw: npt.NDArray[Any],
    labels: npt.NDArray[np.uint8],
    selection: FeatureSelection,
    class_names: tuple[str, ...],
    class_colors: tuple[Color, ...],
    *,
    trees: int = 100,
    seed: int = 0,
) -> Stage:
    """Train one stage on a volume in memory.

    Parameters
    ----------
    raw : ndarray, (c, z, y, x)
    labels : ndarray, (z, y, x), uint8
        Label of each annotated voxel, 0 elsewhere.
    selection : FeatureSelection
    class_names, class_colors : tuple
        One for each label 1, 2, ...
    trees : int
        Trees, each on a bootstrap sample, grown until pure, sqrt(features) candidates a node: ilastik's parameters.
    seed : int

    Raises
    ------
    PlanError
        If nothing or only one class is annotated, or the image is too small for a scale.
    """
    from sklearn.ensemble import RandomForestClassifier

    annotated = labels > 0
    found = np.unique(labels[annotated])
    if len(found) < 2:
        raise PlanError(f"annotations of {len(found)} class(es); training needs at least two", code="labels")
    selection.check_size(*raw.shape[1:])
    rows = _annotated_rows(raw, annotated, selection)
    model = RandomForestClassifier(trees, max_features="sqrt", random_state=seed).fit(rows, labels[annotated])
    return Stage(selection, forest_of_sklearn(model), class_names, class_colors)


def _annotated_rows(
    raw: npt.NDArray[Any], annotated: npt.NDArray[np.bool_], selection: FeatureSelection
) -> npt.NDArray[np.float32]:
    """Features of the annotated voxels alone, (voxels, columns), in C order of the voxels."""
    from numba_ops.features import slabs

    stack = build_stack(selection, len(raw), raw.shape[1])
    image = raw.shape[1:]
    rows = [
        slab[:, annotated[z : z + slab.shape[1]]].T.copy()
        for z, slab in slabs(raw, (0, 0, 0), image, [(0, n) for n in image], stack)
    ]
    return np.concatenate(rows)
