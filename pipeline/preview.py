"""A picture of what was found: the middle plane of an image in grey, its objects in colour over it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.blocks import Box
from pipeline.durability import publish_file, write_errors
from pipeline.errors import StoreError
from pipeline.metadata import label_color

EDGE = 1024  # voxels of the picture at most, from the middle of the plane: at full resolution, whatever the volume
FILL = 0.35  # how much of an object's colour is laid over the grey; its rim is all colour
SHADES = 4096  # colours that are told apart


def check_preview(path: str | os.PathLike[str]) -> Path:
    """The path of a picture that can be written, absolute.

    Raises
    ------
    StoreError
        If it is no .png, or its folder is missing.
    """
    text = os.fspath(path)
    picture = Path(text).absolute()
    if "://" in text or picture.suffix != ".png" or not picture.parent.is_dir():
        raise StoreError(f"preview {text}: a local file that ends in .png is needed, in a folder that exists")
    return picture


def middle(image: Box) -> Box:
    """The part of an image that the picture shows: of its middle plane and time, `EDGE` voxels around the centre."""
    start, stop = list(image.start), list(image.stop)
    for axis, most in enumerate((1, 1, EDGE, EDGE)):
        length = min(image.shape[axis], most)
        start[axis] = image.start[axis] + (image.shape[axis] - length) // 2
        stop[axis] = start[axis] + length
    return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]


def draw_overlay(grey: npt.NDArray[Any], labels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Objects in colour over a plane.

    Parameters
    ----------
    grey : ndarray, (y, x)
        Shown between its percentiles 0.5 and 99.5.
    labels : ndarray, (y, x), unsigned integers
        0 is background.

    Returns
    -------
    ndarray, (y, x, 3), uint8
    """
    values = np.nan_to_num(grey.astype(np.float32))
    low, high = np.percentile(values, (0.5, 99.5))
    shown = ((values - low) / max(high - low, 1e-12)).clip(0, 1) * 255
    palette = np.array([label_color(n) for n in range(SHADES)], np.float32)
    colors = palette[(labels % SHADES).astype(np.intp)]
    share = np.where(_find_rims(labels), 1.0, FILL) * (labels > 0)
    mixed = shown[..., None] * (1 - share[..., None]) + colors * share[..., None]
    return np.rint(mixed).astype(np.uint8)


def write_preview(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write a picture (y, x, 3) as PNG; the file is whole or absent.

    Raises
    ------
    WriteError
        If the disk is full or fails.
    """
    from PIL import Image

    temporary = path.with_name(f"{path.name}.partial")
    with write_errors(path):
        try:
            Image.fromarray(picture).save(temporary, format="PNG")
            publish_file(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _find_rims(labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Voxels beside one of another label."""
    rims = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        moved, seen = np.moveaxis(labels, axis, 0), np.moveaxis(rims, axis, 0)
        differs = moved[1:] != moved[:-1]
        seen[1:] |= differs
        seen[:-1] |= differs
    return rims
