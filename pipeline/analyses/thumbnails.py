"""Small pictures of detections: the two channels of the detection, in the plane of its centroid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.analyses.intensity import to_bytes
from pipeline.analyses.statistics import Moments, Pair
from pipeline.blocks import Box

HALF = 20  # voxels to either side of the centroid
BRIGHTEST = 6  # standard deviations above the mean


@dataclass(frozen=True)
class Thumbnails:
    """Draws detections.

    Parameters
    ----------
    pair : Pair
    first, second : Moments
        Of its channels on the scale of 8 bits: what is black, and what as bright as can be.
    """

    pair: Pair
    first: Moments
    second: Moments

    def draw(self, row: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
        """The surroundings of a row of the table, (y, x, 3): magenta for the first channel, green for the second.

        Raises
        ------
        ReadError
            If the data is damaged or gone.
        """
        channels = self.pair.channels
        z, y, x = (int(row[axis]) - origin for axis, origin in zip("zyx", channels.origin_zyx, strict=True))
        _, height, width = channels.shape_zyx
        box = Box(
            (0, z, max(y - HALF, 0), max(x - HALF, 0)), (1, z + 1, min(y + HALF + 1, height), min(x + HALF + 1, width))
        )
        shown = [
            _stretch(to_bytes(channels.read(name, box))[0], moments)
            for name, moments in zip(self.pair.names, (self.first, self.second), strict=True)
        ]
        return np.stack([shown[0], shown[1], shown[0]], axis=-1)


def _stretch(values: npt.NDArray[np.uint8], moments: Moments) -> npt.NDArray[np.uint8]:
    low = moments.mean
    high = low + BRIGHTEST * moments.deviation
    return ((values - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
