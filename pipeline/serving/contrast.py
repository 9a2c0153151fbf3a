"""Which values of raw data to show from black to white: a property of the data, the same whoever asks and whenever."""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.serving.layer import Layer

SAMPLE_SIDE = 512  # voxels along y and x of the one plane that is looked at
PERCENTILES = (0.5, 99.5)  # a few hot or dead pixels do not decide
MOST_KEPT = 1024


class Reader(Protocol):
    """What reads regions: the engine."""

    def read(self, layer: Layer, level: int, start: tuple[int, ...], stop: tuple[int, ...]) -> npt.NDArray[Any]: ...


class Contrast:
    """Windows of values by layer; those of raw data are measured once.

    Parameters
    ----------
    engine : Reader
    """

    def __init__(self, engine: Reader) -> None:
        self._engine = engine
        self._measured: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def window(self, layer: Layer) -> tuple[float, float]:
        """Values to show as black and as white; what a project makes has its range.

        Notes
        -----
        Of raw data: the 0.5th and 99.5th percentile of the middle plane, of all channels, of full resolution and at
        most `SAMPLE_SIDE` voxels wide. Two equal ones are widened by one, upwards.
        """
        if layer.name != "raw" and layer.value_range is not None:
            return layer.value_range
        found = self._measured.get(layer.digest)
        if found is None:
            found = self._measure(layer)
            with self._lock:
                if len(self._measured) >= MOST_KEPT:
                    self._measured.clear()
                self._measured[layer.digest] = found
        return found

    def _measure(self, layer: Layer) -> tuple[float, float]:
        start, stop = [], []
        for axis, n in zip(layer.dims, layer.levels[0].shape, strict=True):
            side = {"y": SAMPLE_SIDE, "x": SAMPLE_SIDE, "c": n}.get(axis, 1)
            first = max(0, (n - side) // 2)
            start.append(first)
            stop.append(min(first + side, n))
        values = self._engine.read(layer, 0, tuple(start), tuple(stop))
        finite = values[np.isfinite(values)]
        if finite.size == 0:
            return 0.0, 1.0
        low, high = (float(v) for v in np.percentile(finite.astype(np.float64), PERCENTILES))
        return (low, high) if low < high else (low, low + 1.0)
