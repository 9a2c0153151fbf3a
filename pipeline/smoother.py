"""Masks of a part of an image: smoothed, added where two channels decide, compared with thresholds.

The values of a part depend on nothing but the voxels around it: the same bits whatever it was cut from.
Source: SEMANTICS section 7.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from numba_ops._jit import freeze
from numba_ops.smoothing import smooth_columns, smooth_rows
from pipeline.thresholding import Thresholding

Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float32]


def gaussian_taps(sigma: float, radius: int) -> npt.NDArray[np.float64]:
    """Taps of a sampled Gaussian whose sum is 1, (2 * radius + 1,)."""
    raw = [math.exp(-0.5 * (x / sigma) ** 2) for x in range(-radius, radius + 1)]
    return np.array(raw) / math.fsum(raw)


@dataclass(frozen=True, eq=False)
class Smoother:
    """A `Thresholding` ready for an image: its taps, made once, travel to the workers.

    Parameters
    ----------
    settings : Thresholding
    image_zyx : tuple of int
    taps : tuple of ndarray, float64
        Along z, y, x; empty where nothing is smoothed.
    """

    settings: Thresholding
    image_zyx: tuple[int, int, int]
    taps: tuple[npt.NDArray[np.float64], ...]

    def masks(self, prob: npt.NDArray[Any], start: Sequence[int], stop: Sequence[int]) -> tuple[Mask, Mask | None]:
        """Where a part of one time step belongs to objects, and to cores.

        Parameters
        ----------
        prob : ndarray, (c, z, y, x)
            Numbers of any type: the part with its halo, clipped at the image.
        start, stop : sequence of int, (z, y, x)
            The part, in the image.

        Returns
        -------
        tuple of ndarray, bool, (z, y, x)
            The mask, and that of the cores, None for simple thresholding. The same bits whatever the part.
        """
        used = self.settings
        final = self._smooth(prob[used.channel], start, stop)
        if not used.hysteresis:
            return self._reaches(final, used.low), None
        core = self._smooth(prob[used.core_channel], start, stop) if used.has_two_channels else final
        both = final + core if used.has_two_channels else final
        return self._reaches(both, used.low), self._reaches(core, used.high)

    def _reaches(self, values: Values, threshold: float) -> Mask:
        return values > np.float32(threshold) if self.settings.strict else values >= np.float32(threshold)

    def _smooth(self, values: npt.NDArray[Any], start: Sequence[int], stop: Sequence[int]) -> Values:
        values = np.ascontiguousarray(values, np.float32)
        if self.settings.drange not in (None, (0.0, 1.0)):
            low, high = self.settings.drange or (0.0, 1.0)
            values = (values - np.float32(low)) / np.float32(high - low)
        if not any(len(taps) for taps in self.taps):
            return values
        for axis in (2, 1, 0):
            taps, first, length = self.taps[axis], start[axis], self.image_zyx[axis]
            if not len(taps):
                continue
            origin = max(first - len(taps) // 2, 0)
            shape = [*values.shape]
            shape[axis] = stop[axis] - first
            out = np.empty(shape, np.float32)
            if axis == 2:
                flat = (-1, values.shape[2]), (-1, shape[2])
                smooth_columns(freeze(values.reshape(flat[0])), origin, length, taps, first, out.reshape(flat[1]))
            else:
                outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
                source = freeze(values.reshape(outer, values.shape[axis], inner))
                smooth_rows(source, origin, length, taps, first, out.reshape(outer, shape[axis], inner))
            values = out
        return values


def make_smoother(settings: Thresholding, n_channels: int, image_zyx: Sequence[int]) -> Smoother:
    """Check settings against an image, and make their taps.

    Raises
    ------
    PlanError
        As `Thresholding.check`.
    """
    settings.check(n_channels, image_zyx)
    z, y, x = (int(n) for n in image_zyx)
    smoothed = settings.smoothed_axes(image_zyx)
    radii = [settings.radius(axis) if axis in smoothed else 0 for axis in range(3)]
    taps = tuple(
        gaussian_taps(sigma, radius) if radius else np.empty(0)
        for sigma, radius in zip(settings.sigma_zyx, radii, strict=True)
    )
    return Smoother(settings, (z, y, x), taps)
