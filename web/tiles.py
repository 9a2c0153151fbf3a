"""Tiles: PNG pictures of a layer that a page lays over each other, for people without WebGL.

``LEVEL/INDEX….png`` holds a number for each dim; along y and x it counts tiles of `SIDE` pixels. Raw data are grey,
probabilities the more opaque the higher they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.serving.layer import Layer
from web.encodings import to_png
from web.pictures import paint_classes, paint_labels, scale

Array = npt.NDArray[Any]

SIDE = 256
WHITE = (255, 255, 255)
MOST_CLASSES = 255


def describe(layer: Layer, window: tuple[float, float]) -> dict[str, Any]:
    """What a page has to know to lay tiles out: ``tiles.json``."""
    return {
        "side": SIDE,
        "dims": layer.dims,
        "window": list(window),
        "levels": [
            {"shape": list(level.shape), "factors": list(level.factors), "approximate": not level.exact}
            for level in layer.levels
        ],
    }


def paint(layer: Layer, values: Array, channel: int, window: tuple[float, float]) -> bytes:
    """A plane of one channel as PNG.

    Parameters
    ----------
    layer : Layer
        Says what the values are, and its colours.
    values : ndarray, (y, x)
    channel : int
        Which channel or class they are of.
    window : (low, high)
        Values that are black and white, or wholly transparent and opaque.
    """
    if layer.name == "segmentation":
        return to_png(paint_classes(values, layer.channel_colors or (WHITE,) * MOST_CLASSES))
    if layer.name == "labels":
        return to_png(paint_labels(values))
    brightness = scale(values, window)
    if layer.name == "raw":
        return to_png(brightness)
    color = layer.channel_colors[channel] if layer.channel_colors else WHITE
    return to_png(np.dstack([*(np.full(values.shape, part, np.uint8) for part in color), brightness]))
