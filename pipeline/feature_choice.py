"""Choosing features for training: all of them, a named set, single ones, or those that mattered most."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from numba_ops.taps import WINDOW_PRESMOOTH
from pipeline.errors import PlanError
from pipeline.features import DEFAULT_SCALES, FEATURE_LABELS, FeatureSelection
from pipeline.suggestion import did_you_mean

IDS = tuple(FEATURE_LABELS)
LEAST_SCALE = 0.7  # ilastik's window offers smaller ones for Gaussian smoothing alone (SEMANTICS 13)

SETS: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "all": (IDS, DEFAULT_SCALES),
    "standard": (IDS, (0.3, 0.7, 1.6, 3.5, 5.0)),
    "light": (IDS[:4], (0.3, 0.7, 1.6, 3.5)),
}
"""Named sets: features and scales. Eigenvalues are what costs time and finds edges and tubes: ``light`` has none."""


def choose_features(
    features: str | Sequence[str], scales: Sequence[float] | None, shape_zyx: Sequence[int]
) -> FeatureSelection:
    """The features to train with.

    Parameters
    ----------
    features : str or sequence of str
        A key of `SETS`, or feature ids as in `FEATURE_LABELS`.
    scales : sequence of float, optional
        In voxels; those of the set, or ilastik's, by default. Of these, scales that the image is too small for are left
        out; of given ones none is.
    shape_zyx : sequence of int
        Shape of the image. A scale that its depth is too small for is computed in 2-D.

    Raises
    ------
    PlanError
        With the code ``features`` for unknown names, ``image_too_small`` if no scale is left.
    ProjectError
        For scales out of range.
    """
    names, usual = _look_up(features)
    z, y, x = shape_zyx
    wanted = tuple(dict.fromkeys(float(scale) for scale in (usual if scales is None else scales)))
    if scales is None:
        wanted = tuple(scale for scale in wanted if _least(scale) <= min(y, x))
    if not wanted:
        raise PlanError(
            f"an image of y={y}, x={x} voxels is too small for any feature; {_least(min(usual))} along both are needed",
            code="image_too_small",
        )
    matrix = tuple(tuple(_is_offered(name, scale) for scale in wanted) for name in names)
    if not any(map(any, matrix)):
        raise PlanError(
            f"scales {', '.join(map(str, wanted))}; of these features, {', '.join(names)}, ilastik computes none below "
            f"{LEAST_SCALE}",
            code="features",
        )
    return FeatureSelection(names, wanted, matrix, tuple(_least(scale) > z for scale in wanted))


def _look_up(features: str | Sequence[str]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    if isinstance(features, str):
        if features in SETS:
            return SETS[features]
        features = [name.strip() for name in features.split(",")]
    for name in features:
        if name not in FEATURE_LABELS:
            hint = did_you_mean(name, [*SETS, *IDS])
            raise PlanError(
                f"feature {name!r}; allowed are {', '.join(SETS)}, or any of {', '.join(IDS)}{hint}", code="features"
            )
    # In ilastik's order, so that the same choice gives the same columns.
    return tuple(name for name in IDS if name in features), DEFAULT_SCALES


def _least(scale: float) -> int:
    """Voxels that an image must have along each filtered axis (SEMANTICS 2, size rule)."""
    return math.ceil(WINDOW_PRESMOOTH * scale) + 1


def _is_offered(name: str, scale: float) -> bool:
    return scale >= LEAST_SCALE or name == "GaussianSmoothing"


def keep_best(
    selection: FeatureSelection, importances: npt.NDArray[np.float64], n_channels: int, depth: int, number: int
) -> FeatureSelection:
    """The features, each at one scale, that mattered most; columns of one feature and scale stay together.

    Parameters
    ----------
    selection : FeatureSelection
    importances : ndarray, (columns,)
        Of a forest trained on `selection`.
    n_channels, depth : int
        Of the image.
    number : int
        How many pairs of feature and scale to keep.

    Raises
    ------
    PlanError
        With the code ``features``, if `number` is less than one.
    """
    if number < 1:
        raise PlanError(f"{number} features to keep; at least 1 is needed", code="features")
    total: dict[tuple[str, int], float] = {}
    for column, importance in zip(selection.channels(n_channels, depth), importances.tolist(), strict=True):
        pair = (column.feature, column.scale_index)
        total[pair] = total.get(pair, 0.0) + importance
    best = set(sorted(total, key=lambda pair: -total[pair])[:number])
    matrix = tuple(tuple((name, j) in best for j in range(len(selection.scales))) for name in selection.ids)
    return FeatureSelection(selection.ids, selection.scales, matrix, selection.compute_in_2d)
