"""Regions of layers as bodies of answers of the new API."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from flask import Response

from pipeline.serving.layer import Layer
from web import encodings, pictures
from web.errors import HttpError
from web.roi import Region

CONTENT_TYPES = {
    "npy": "application/x-npy",
    "raw": "application/octet-stream",
    "png": "image/png",
    "tiff": "image/tiff",
    "hdf5": "application/x-hdf5",
}
SUFFIXES = {"npy": "npy", "raw": "raw", "png": "png", "tiff": "tif", "hdf5": "h5"}


def encode(
    layer: Layer, level: int, region: Region, values: npt.NDArray[Any], fmt: str, colors: str, window: str | None
) -> Response:
    """The answer with the values of a region.

    Parameters
    ----------
    layer : Layer
    level : int
    region : Region
        Says which axes were given as an index: npy, raw and hdf5 do not have them.
    values : ndarray
        Over the layer's dims.
    fmt : {"npy", "raw", "png", "tiff", "hdf5"}
    colors : {"auto", "grey", "classes", "labels"}
    window : str, optional
        ``low:high``.

    Raises
    ------
    HttpError
        400, if the region cannot be shown as asked.
    """
    array = region.drop_single(values)
    factors = dict(zip(layer.dims, layer.levels[level].factors, strict=True))
    spacing = {axis: step * factors[axis] for axis, step in layer.spacing.items() if axis in factors}
    if fmt == "png":
        body = encodings.to_png(paint(layer, values, region, colors, window))
    elif fmt == "tiff":
        body = encodings.to_tiff(values, layer.dims, spacing)
    elif fmt == "hdf5":
        body = encodings.to_hdf5(array, region.kept or None, spacing)
    else:
        body = encodings.to_npy(array) if fmt == "npy" else encodings.to_raw(array)
    response = Response(body, content_type=CONTENT_TYPES[fmt])
    headers = response.headers
    headers["X-VoxelForest-Digest"] = layer.digest
    headers["X-VoxelForest-Dims"] = region.kept
    headers["X-VoxelForest-Shape"] = ",".join(map(str, array.shape))
    headers["X-VoxelForest-Dtype"] = array.dtype.newbyteorder("<").str
    headers["Cache-Control"] = "no-cache"  # the URL does not name the digest; the ETag does
    headers["Content-Disposition"] = f'inline; filename="{layer.volume.name}_{layer.name}.{SUFFIXES[fmt]}"'
    return response


def paint(
    layer: Layer, values: npt.NDArray[Any], region: Region, colors: str, window: str | None
) -> npt.NDArray[np.uint8]:
    """The picture of a plane: (height, width) or (height, width, channels); rows are the first axis of the two.

    Raises
    ------
    HttpError
        400, if it is not one plane, or the colours do not go with the layer.
    """
    way = _default_colors(layer, values) if colors == "auto" else colors
    if way == "classes" and layer.name == "probabilities":
        at = layer.dims.index("c")
        chosen = layer.channel_colors[region.start[at] : region.stop[at]]
        mixed = _as_plane(np.moveaxis(values, at, -1), layer.dims.replace("c", ""))
        return pictures.mix_classes(mixed, chosen)
    plane = pictures.take_plane(values, layer.dims, "xyz")
    if way == "grey":
        return pictures.scale(plane, _window(layer, plane, window))
    if plane.dtype.kind not in "iu" or plane.shape[2] != 1:
        raise HttpError(
            f"colors={way} paints whole numbers of one channel, {layer.name} holds {plane.dtype} in {plane.shape[2]}",
            code="colors",
            given=way,
            allowed="grey" if layer.name != "probabilities" else "grey, classes",
        )
    if way == "labels":
        return pictures.paint_labels(plane[:, :, 0])
    if not layer.channel_colors:
        raise HttpError(f"{layer.name} has no class colours", code="colors", given=way, allowed="grey, labels")
    return pictures.paint_classes(plane[:, :, 0], layer.channel_colors)


def _default_colors(layer: Layer, values: npt.NDArray[Any]) -> str:
    if layer.name == "probabilities":
        return "classes" if values.shape[layer.dims.index("c")] > 1 else "grey"
    return {"segmentation": "classes", "labels": "labels"}.get(layer.name, "grey")


def _as_plane(values: npt.NDArray[Any], dims: str) -> npt.NDArray[Any]:
    """Values with their channels last, however many, as (height, width, channels)."""
    shaped = pictures.take_plane(values[..., 0], dims, "xyz")[:, :, 0].shape
    return values.reshape(*shaped, values.shape[-1])


def _window(layer: Layer, plane: npt.NDArray[Any], given: str | None) -> tuple[float, float]:
    """The values that become black and white: as asked, else the layer's own range, else that of these values."""
    if given is not None:
        low, _, high = given.partition(":")
        if not float(low) < float(high):
            raise HttpError("the window is empty", code="window", given=given, allowed="low:high with low below high")
        return float(low), float(high)
    if layer.value_range is not None:
        return layer.value_range
    finite = plane[np.isfinite(plane)] if plane.dtype.kind == "f" else plane
    if finite.size == 0 or finite.min() == finite.max():
        lowest = float(finite.min()) if finite.size else 0.0
        return lowest, lowest + 1.0
    return float(finite.min()), float(finite.max())
