"""What a feature stack computes, as plain numbers: scales, taps and where each feature goes.

Pure data, no numba: a plan builds a `Stack` once and sends it to the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from numba_ops.taps import WINDOW_FILTER, WINDOW_PRESMOOTH, presmooth_sigma, taps
from numba_ops.tile import ALIGN, INNER, MARGIN, PLANES, YX00, YX01, YX02, YX10, YX11, YX20, align, lay_memory

FEATURES = (
    "GaussianSmoothing",
    "LaplacianOfGaussian",
    "GaussianGradientMagnitude",
    "DifferenceOfGaussians",
    "StructureTensorEigenvalues",
    "HessianOfGaussianEigenvalues",
)
SMOOTH, LAPLACIAN, GRADIENT, DIFFERENCE, STRUCTURE, HESSIAN = range(len(FEATURES))
INNER_RATIO = 0.66
STRUCTURE_RATIO = 0.5
SLAB = 4  # planes of a slab: a brick of the forest is 4 x 4 x 4 voxels

# What each feature reads: in-plane derivative and order along z; the structure tensor has passes of its own.
NEEDS = {
    SMOOTH: ((YX00, 0),),
    LAPLACIAN: ((YX02, 0), (YX20, 0), (YX00, 2)),
    GRADIENT: ((YX01, 0), (YX10, 0), (YX00, 1)),
    DIFFERENCE: ((YX00, 0), (INNER, 0)),
    HESSIAN: ((YX02, 0), (YX20, 0), (YX00, 2), (YX11, 0), (YX01, 1), (YX10, 1)),
}
Taps = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scale:
    """Everything that is computed from one presmoothing.

    Parameters
    ----------
    sigma : float
        The scale as selected, voxels.
    in_2d : bool
        Whether every z-plane is filtered on its own.
    presmooth : ndarray, (radius + 1,), float32
        Taps of the presmoothing.
    filters : tuple of ndarray, (radius + 1,), float32
        Taps of orders 0, 1, 2 at ``min(sigma, 1)``.
    inner : ndarray, (radius + 1,), float32
        Taps of the second Gaussian of DifferenceOfGaussians.
    gradient : tuple of ndarray, (radius + 1,), float32
        Taps of orders 0 and 1 of the structure tensor's gradient.
    columns : ndarray, (channels, 6), int64
        First column of each feature (in the order of `FEATURES`) per input channel, -1 where it is not wanted;
        eigenvalues follow each other.
    """

    sigma: float
    in_2d: bool
    presmooth: Taps
    filters: tuple[Taps, Taps, Taps]
    inner: Taps
    gradient: tuple[Taps, Taps]
    columns: npt.NDArray[np.int64]

    @property
    def wants_tensor(self) -> bool:
        """Whether the structure tensor is wanted."""
        return bool((self.columns[:, STRUCTURE] >= 0).any())

    @property
    def filter_reach(self) -> int:
        """Presmoothed voxels that the filters need on each side."""
        _, reach, edge = self.reaches
        return reach + edge if self.wants_tensor else reach

    @property
    def reach(self) -> int:
        """Raw voxels needed on each side."""
        return len(self.presmooth) - 1 + self.filter_reach

    @property
    def reaches(self) -> tuple[int, int, int]:
        """Reach of the presmoothing, of the filters and of the structure tensor's gradient, voxels."""
        return len(self.presmooth) - 1, max(map(len, self.filters)) - 1, max(map(len, self.gradient)) - 1

    def orders_z(self, channel: int) -> npt.NDArray[np.int64]:
        """Orders along z that each in-plane derivative of a channel is wanted in: bit o for order o, 0 for none.

        Returns
        -------
        ndarray, (7,), int64
            In the order of `numba_ops.tile`: YX00 ... INNER. In a 2-D scale, order 0 stands for the derivative itself.
        """
        orders = np.zeros(PLANES, np.int64)
        for feature, wanted in NEEDS.items():
            if self.columns[channel, feature] >= 0:
                for plane, order in wanted:
                    if order == 0 or not self.in_2d:
                        orders[plane] |= 1 << order
        return orders


@dataclass(frozen=True, eq=False)
class Stack:
    """A feature stack: scales with their taps, and the number of columns.

    Parameters
    ----------
    scales : tuple of Scale
        Used scales, ascending by position in the selection.
    n_columns : int
        Features of a voxel.
    n_channels : int
        Input channels.
    """

    scales: tuple[Scale, ...]
    n_columns: int
    n_channels: int

    @property
    def halo_zyx(self) -> tuple[int, int, int]:
        """Raw voxels needed on each side of a block along (z, y, x); z is 0 if every scale is 2-D."""
        flat = max(s.reach for s in self.scales)
        deep = max((s.reach for s in self.scales if not s.in_2d), default=0)
        return deep, flat, flat

    def scratch_bytes(self, depth: int, rows: int, width: int) -> int:
        """Bytes that `numba_ops.features.slabs` holds for a tile of ``depth x rows x width`` voxels, input apart."""
        halo, pad, _ = self.halo_zyx
        raw = self.n_channels * (depth + 2 * halo) * (rows + 2 * pad) * align(width + 2 * pad)
        streams = 0
        for scale in self.scales:
            if not scale.in_2d:  # those in 2-D keep nothing from plane to plane and share their memory
                streams += lay_memory(scale, rows, width)[1] * int((scale.columns >= 0).any(axis=1).sum())
        shared = max((lay_memory(scale, rows, width)[1] for scale in self.scales if scale.in_2d), default=0)
        pieces = self.n_channels * (len(self.scales) + 1) + 2
        slab = self.n_columns * min(SLAB, depth) * rows * width
        return 4 * (raw + streams + shared + slab + pieces * (MARGIN + ALIGN))


def eigenvalue_count(feature: int, in_2d: bool) -> int:
    """Columns of one feature of one channel."""
    return (2 if in_2d else 3) if feature in (STRUCTURE, HESSIAN) else 1


def build(
    rows: Sequence[str], scales: Sequence[float], matrix: Sequence[Sequence[bool]], in_2d: Sequence[bool], channels: int
) -> Stack:
    """Number the columns of a feature selection and compute its taps.

    Parameters
    ----------
    rows : sequence of str
        Feature ids, in the stored order.
    scales : sequence of float
        Scales, voxels.
    matrix : (rows, scales) bool
        What is selected.
    in_2d : (scales,) bool
        Whether a scale is filtered in each z-plane alone.
    channels : int
        Input channels.

    Returns
    -------
    Stack
        Columns are ordered by row, scale, channel, eigenvalue (SEMANTICS section 2).
    """
    columns = np.full((len(scales), channels, len(FEATURES)), -1, np.int64)
    following = 0
    for i, name in enumerate(rows):
        feature = FEATURES.index(name)
        for j in range(len(scales)):
            for c in range(channels if matrix[i][j] else 0):
                columns[j, c, feature] = following
                following += eigenvalue_count(feature, in_2d[j])
    used = [j for j in range(len(scales)) if any(row[j] for row in matrix)]
    return Stack(tuple(_scale(scales[j], in_2d[j], columns[j]) for j in used), following, channels)


def _scale(sigma: float, in_2d: bool, columns: npt.NDArray[np.int64]) -> Scale:
    s = min(sigma, 1.0)
    return Scale(
        sigma=sigma,
        in_2d=in_2d,
        presmooth=taps(presmooth_sigma(sigma), 0, WINDOW_PRESMOOTH),
        filters=(taps(s, 0, WINDOW_FILTER), taps(s, 1, WINDOW_FILTER), taps(s, 2, WINDOW_FILTER)),
        inner=taps(INNER_RATIO * s, 0, WINDOW_FILTER),
        gradient=(taps(STRUCTURE_RATIO * s, 0, WINDOW_FILTER), taps(STRUCTURE_RATIO * s, 1, WINDOW_FILTER)),
        columns=columns,
    )
