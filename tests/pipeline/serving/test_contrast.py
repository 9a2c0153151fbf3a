"""Windows of values: measured once, of the data alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.serving.contrast import Contrast
from pipeline.serving.layer import Layer
from tests.web.layers import make_layers


class Memory:
    """Reads from an array, and counts."""

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self.values = values
        self.reads: list[tuple[Sequence[int], Sequence[int]]] = []

    def read(self, layer: Layer, level: int, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        self.reads.append((start, stop))
        return self.values[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]


def _raw(golden_dir: Path, values: npt.NDArray[Any]) -> Layer:
    layer = make_layers(golden_dir, "pc_3d")["raw"]
    level = replace(layer.levels[0], shape=values.shape)
    return replace(layer, levels=(level,), dtype=values.dtype)


def test_raw_data_are_measured_once_in_the_middle_plane(golden_dir: Path) -> None:
    values = np.zeros((9, 700, 40), np.uint16)
    values[4, 94:606] = np.arange(512, dtype=np.uint16)[:, None]
    memory = Memory(values)
    contrast, layer = Contrast(memory), _raw(golden_dir, values)
    assert contrast.window(layer) == contrast.window(layer) == tuple(np.percentile(values[4, 94:606], (0.5, 99.5)))
    assert memory.reads == [((4, 94, 0), (5, 606, 40))]


def test_constant_or_missing_values_still_give_a_window(golden_dir: Path) -> None:
    constant = np.full((1, 4, 4), 7.0, np.float32)
    assert Contrast(Memory(constant)).window(_raw(golden_dir, constant)) == (7.0, 8.0)
    nothing = np.full((1, 4, 4), np.nan, np.float32)
    assert Contrast(Memory(nothing)).window(_raw(golden_dir, nothing)) == (0.0, 1.0)


def test_results_have_the_range_that_they_say(golden_dir: Path) -> None:
    memory = Memory(np.zeros((1, 1, 1)))
    assert Contrast(memory).window(make_layers(golden_dir, "pc_3d")["probabilities"]) == (0.0, 1.0)
    assert memory.reads == []
