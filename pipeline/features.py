"""Which features ilastik computes, at which scales, and in which order; pure Python, no arrays, no files.

Three facts that surprise: scales at most 1 are smoothed twice, a flat image is always filtered in 2-D, and the
channel order goes feature by feature with the scale inside (SEMANTICS 2 to 4).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from numba_ops.taps import WINDOW_PRESMOOTH
from pipeline.errors import PlanError, ProjectError

FEATURE_LABELS = {
    "GaussianSmoothing": "Gaussian Smoothing",
    "LaplacianOfGaussian": "Laplacian of Gaussian",
    "GaussianGradientMagnitude": "Gaussian Gradient Magnitude",
    "DifferenceOfGaussians": "Difference of Gaussians",
    "StructureTensorEigenvalues": "Structure Tensor Eigenvalues",
    "HessianOfGaussianEigenvalues": "Hessian of Gaussian Eigenvalues",
}
"""Stored feature id -> the words ilastik shows; its order is that of ilastik's own files."""

DEFAULT_SCALES = (0.3, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0)
"""The scales of ilastik's selection window, in voxels."""

MAX_SCALE = 1000.0
MAX_SCALES = 1000
_EIGENVALUE_FEATURES = frozenset({"StructureTensorEigenvalues", "HessianOfGaussianEigenvalues"})


class FeatureChannel(NamedTuple):
    """One column of the forest.

    `scale` is in voxels, `scale_index` its place among the stored scales; `in_2d` is the stored flag; `eigenvalue`
    counts from the largest, 0 for scalar features.
    """

    feature: str
    scale: float
    scale_index: int
    in_2d: bool
    input_channel: int
    eigenvalue: int


@dataclass(frozen=True)
class FeatureSelection:
    """The features of a project, checked.

    Parameters
    ----------
    ids : tuple of str
        Stored feature ids, keys of `FEATURE_LABELS`, in any order; the rows of `matrix`.
    scales : tuple of float
        Scales in voxels, each in (0, 1000]; the columns of `matrix`.
    matrix : tuple of tuple of bool, (ids, scales)
        Which feature is computed at which scale.
    compute_in_2d : tuple of bool or None, (scales,)
        Per scale, whether it is computed in each z-plane alone; None in projects before ilastik 1.3.2, where
        the image decides.

    Raises
    ------
    ProjectError
        With code ``bad_features`` for an unknown or repeated id, a scale out of range or lengths that do not fit each
        other, ``no_features`` if nothing is selected.

    Notes
    -----
    Source: SEMANTICS 2.
    """

    ids: tuple[str, ...]
    scales: tuple[float, ...]
    matrix: tuple[tuple[bool, ...], ...]
    compute_in_2d: tuple[bool, ...] | None = None

    def __post_init__(self) -> None:
        _check_ids(self.ids)
        _check_scales(self.scales)
        if len(self.matrix) != len(self.ids) or any(len(row) != len(self.scales) for row in self.matrix):
            raise ProjectError(
                f"the selection matrix does not have {len(self.ids)} rows (features) of {len(self.scales)} entries "
                "(scales)",
                "bad_features",
            )
        if self.compute_in_2d is not None and len(self.compute_in_2d) != len(self.scales):
            raise ProjectError(
                f"ComputeIn2d has {len(self.compute_in_2d)} entries for {len(self.scales)} scales", "bad_features"
            )
        if not any(map(any, self.matrix)):
            raise ProjectError("no feature is selected", "no_features")

    def used(self, j: int) -> bool:
        """Whether any feature is computed at scale number `j`."""
        return any(row[j] for row in self.matrix)

    @property
    def used_scales(self) -> tuple[int, ...]:
        """Numbers of the scales that are used, ascending."""
        return tuple(j for j in range(len(self.scales)) if self.used(j))

    def in_2d(self, z: int) -> tuple[bool, ...]:
        """Per scale, the stored 2-D flag, or what stands for it in old projects, for an image of `z` planes."""
        return (z == 1,) * len(self.scales) if self.compute_in_2d is None else self.compute_in_2d

    def channels(self, n_input: int, z: int) -> tuple[FeatureChannel, ...]:
        """The columns of the forest in order, for an image of `n_input` channels and `z` planes.

        Examples
        --------
        >>> selection = FeatureSelection(("HessianOfGaussianEigenvalues",), (1.0,), ((True,),), (True,))
        >>> [(c.input_channel, c.eigenvalue) for c in selection.channels(n_input=2, z=1)]
        [(0, 0), (0, 1), (1, 0), (1, 1)]
        """
        flags = self.in_2d(z)
        return tuple(
            FeatureChannel(self.ids[i], self.scales[j], j, flags[j], channel, eigenvalue)
            for i, j in self._selected()
            for channel in range(n_input)
            for eigenvalue in range(self._eigenvalues(i, j, z))
        )

    def n_columns(self, n_input: int, z: int) -> int:
        """Number of `channels`, without listing them."""
        return n_input * sum(self._eigenvalues(i, j, z) for i, j in self._selected())

    def names(self, n_input: int, z: int) -> tuple[str, ...]:
        """What ilastik calls the channels, in their order.

        Examples
        --------
        >>> FeatureSelection(("GaussianSmoothing",), (0.3,), ((True,),), (True,)).names(n_input=1, z=1)
        ('Gaussian Smoothing (σ=0.3) in 2D',)
        """
        flags = self.in_2d(z)
        names: list[str] = []
        for i, j in self._selected():
            name = f"{FEATURE_LABELS[self.ids[i]]} (σ={self.scales[j]!r})" + (" in 2D" if flags[j] else "")
            n = n_input * self._eigenvalues(i, j, z)
            names += [name] if n == 1 else [f"{name} [{k}]" for k in range(n)]
        return tuple(names)

    def check_size(self, z: int, y: int, x: int) -> None:
        """Refuse an image of z × y × x voxels that is too small for a used scale.

        Raises
        ------
        PlanError
            With code ``image_too_small``; the message names the scale and the size it needs. Sizes are those of the
            whole image, never of a block (SEMANTICS 2, "Size rule").
        """
        flags = self.in_2d(z)
        for j in self.used_scales:
            least = math.ceil(WINDOW_PRESMOOTH * self.scales[j]) + 1
            if least > min(y, x) or (least > z and not flags[j]):
                axes = "y and x" if flags[j] else "z, y and x"
                raise PlanError(
                    f"the image has z={z}, y={y}, x={x} voxels, but the project's scale {self.scales[j]} needs at "
                    f"least {least} along {axes}",
                    "image_too_small",
                )

    def _selected(self) -> Iterator[tuple[int, int]]:
        for i, row in enumerate(self.matrix):
            for j, on in enumerate(row):
                if on:
                    yield i, j

    def _eigenvalues(self, i: int, j: int, z: int) -> int:
        if self.ids[i] not in _EIGENVALUE_FEATURES:
            return 1
        return 2 if z == 1 or self.in_2d(z)[j] else 3


def _check_ids(ids: tuple[str, ...]) -> None:
    for number, name in enumerate(ids):
        if name not in FEATURE_LABELS:
            raise ProjectError(f"the feature {name!r} is none of {', '.join(FEATURE_LABELS)}", "bad_features")
        if name in ids[:number]:
            raise ProjectError(f"the feature {name} is listed twice", "bad_features")


def _check_scales(scales: tuple[float, ...]) -> None:
    if len(scales) > MAX_SCALES:
        raise ProjectError(f"{len(scales)} scales are listed, at most {MAX_SCALES} are allowed", "bad_features")
    for scale in scales:
        if not 0 < scale <= MAX_SCALE:
            raise ProjectError(f"the scale {scale!r} is not above 0 and at most {MAX_SCALE:g} voxels", "bad_features")
