"""Tiles: what colour a value becomes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.web.layers import make_layers
from web.tiles import describe, paint


def _pixels(body: bytes) -> npt.NDArray[Any]:
    return np.asarray(Image.open(io.BytesIO(body)))


def test_raw_data_are_grey_within_the_window(golden_dir: Path) -> None:
    raw = make_layers(golden_dir, "pc_3d")["raw"]
    found = _pixels(paint(raw, np.array([[0, 100, 160, 200, 255]], np.uint8), 0, (100.0, 200.0)))
    assert found.tolist() == [[0, 0, 153, 255, 255]]


def test_probabilities_are_the_class_colour_as_opaque_as_they_are_high(golden_dir: Path) -> None:
    layer = make_layers(golden_dir, "pc_3d")["probabilities"]
    found = _pixels(paint(layer, np.array([[0, 0.5, 1]], np.float32), 1, (0.0, 1.0)))
    assert found.tolist() == [[[*layer.channel_colors[1], alpha] for alpha in (0, 128, 255)]]


def test_classes_have_their_colours_and_objects_one_each(golden_dir: Path) -> None:
    layer = make_layers(golden_dir, "pc_3d")["segmentation"]
    found = _pixels(paint(layer, np.array([[1, 3]], np.uint8), 0, (0.0, 3.0)))
    assert found.tolist() == [[list(layer.channel_colors[0]), list(layer.channel_colors[2])]]
    labels = replace(layer, name="labels", dtype=np.dtype(np.uint64))
    colors = _pixels(paint(labels, np.array([[0, 1, 2, 2**63]], np.uint64), 0, (0.0, 1.0)))
    assert colors[0, 0].tolist() == [0, 0, 0, 0]
    assert len(np.unique(colors[0], axis=0)) == 4


def test_values_without_colours_are_white(golden_dir: Path) -> None:
    layer = make_layers(golden_dir, "pc_3d")["uncertainty"]
    assert _pixels(paint(layer, np.array([[1.0]], np.float32), 0, (0.0, 1.0))).tolist() == [[[255, 255, 255, 255]]]


def test_layout_names_approximate_levels(golden_dir: Path) -> None:
    layer = make_layers(golden_dir, "pc_3d")["raw"]
    rough = replace(layer, levels=(replace(layer.levels[0], exact=False),))
    assert [level["approximate"] for level in describe(rough, (0.0, 1.0))["levels"]] == [True]
