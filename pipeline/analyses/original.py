"""The map of 2018, in the arithmetic of 2018: for comparisons with what was computed then.

``box_mean(a + b) - box_mean(a) + box_mean(b)`` of the two z-scored channels is twice the smoothed second one, up to
rounding. Rounding decides here: values of the map are few and often lie on the border of two bins of the histogram,
and the histogram's counts were rounded to single precision. So additions are made in the order of SciPy's
`ndimage.convolve`, and bins and threshold as scikit-image's `threshold_otsu` has them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from numba_ops import boxes
from numba_ops._jit import freeze
from pipeline.analyses.detection import BINS, MeasuredPair, Threshold
from pipeline.blocks import Box

Floats = npt.NDArray[np.float64]


class OriginalMap(MeasuredPair):
    """Float values of the map, read box by box; picklable. See `pipeline.analyses.detection.Map`."""

    def read(self, box: Box) -> Floats:
        """Values of a box, (z, y, x)."""
        first, second = self.pair.read_around(box)
        depth, height, width = (n - 2 for n in first.shape)
        out = np.empty((depth, height, width))
        means = np.array([moments.mean for moments in self.moments])
        deviations = np.array([moments.deviation for moments in self.moments])
        boxes.original_map(freeze(first), freeze(second), freeze(means), freeze(deviations), out)
        return out

    def count(self, values: Floats, low: float, high: float) -> npt.NDArray[np.int64]:
        """Histogram of values over ``low .. high``."""
        counts = np.zeros(BINS, np.int64)
        boxes.count_between(freeze(values.reshape(-1)), freeze(_edges(low, high)), counts)
        return counts

    def find_threshold(self, low: float, high: float, counts: Sequence[int]) -> Threshold:
        """The threshold that scikit-image finds."""
        if low == high:
            return Threshold(low, low)
        edges = _edges(low, high)
        centres = (edges[:-1] + edges[1:]) / 2
        weights = np.array(counts).astype(np.float32)
        sums = weights * centres
        below, above = np.cumsum(weights), np.cumsum(weights[::-1])[::-1]
        mean_below = np.cumsum(sums) / below
        mean_above = (np.cumsum(sums[::-1]) / above[::-1])[::-1]
        variance = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
        found = float(centres[np.argmax(variance)])
        return Threshold(found, found)

    def value(self, code: float) -> float:
        """What a value of the map stands for: itself."""
        return float(code)


def _edges(low: float, high: float) -> Floats:
    return np.linspace(low, high, BINS + 1)
