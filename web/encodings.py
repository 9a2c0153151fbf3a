"""Arrays as the bodies of answers; no file is written for any of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from pipeline.axes import reorder
from pipeline.metadata import axistags

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]

DATASET = "exported_data"
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
TIFF_AXES = "tzcyx"
IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
PNG_EFFORT = 1  # zlib's level: 6 takes three times as long for 5 % fewer bytes of a picture of probabilities


def to_raw(array: Array) -> bytes:
    """The values alone: C order of the array's axes, little-endian."""
    return np.asarray(array, array.dtype.newbyteorder("<")).tobytes()


def to_npy(array: Array) -> bytes:
    """As `numpy.save` writes it."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array, order="C"), allow_pickle=False)
    return stream.getvalue()


def to_hdf5(array: Array, axes: str | None = None, spacing: Mapping[str, float] | None = None) -> bytes:
    """A file with the one contiguous dataset ``exported_data``.

    Parameters
    ----------
    array : ndarray
    axes : str, optional
        Names for the attribute ``axistags``; without them there are no attributes.
    spacing : mapping by axis letter, optional
    """
    with h5py.File("answer.h5", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset(DATASET, data=np.asarray(array, order="C"))
        if axes is not None:
            data.attrs["axistags"] = axistags(axes, spacing or {})
        file.flush()
        return file.id.get_file_image()


def to_png(pixels: Pixels) -> bytes:
    """A picture (height, width) or (height, width, 1 to 4): grey, grey + alpha, RGB, RGBA."""
    stream = io.BytesIO()
    _image(pixels).save(stream, "PNG", compress_level=PNG_EFFORT)
    return stream.getvalue()


def to_tiff_picture(pixels: Pixels) -> bytes:
    """The same as TIFF with LZW, as the clients of ilastik-backend know it."""
    stream = io.BytesIO()
    pixels = _without_single(pixels)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    extra = {2: ["UNASSALPHA"], 4: ["UNASSALPHA"]}.get(channels)
    tifffile.imwrite(
        stream,
        pixels,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=extra,
        compression="lzw",
        metadata=None,
    )
    return stream.getvalue()


def to_tiff(array: Array, dims: str, spacing: Mapping[str, float]) -> bytes:
    """The values as they are, axes TZCYX, a page a plane: an ImageJ hyperstack where it can be one."""
    stacked = np.ascontiguousarray(reorder(array, dims, TIFF_AXES))
    imagej = str(array.dtype) in IMAGEJ_DTYPES
    metadata: dict[str, Any] = {"axes": TIFF_AXES.upper()}
    if imagej and "z" in spacing:
        metadata["spacing"] = spacing["z"]
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        stacked,
        imagej=imagej,
        photometric="minisblack",
        metadata=metadata,
        resolution=(1 / spacing.get("x", 1.0), 1 / spacing.get("y", 1.0)),
        resolutionunit="NONE",
    )
    return stream.getvalue()


def _image(pixels: Pixels) -> Image.Image:
    pixels = _without_single(pixels)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    height, width = pixels.shape[:2]
    return Image.frombuffer(
        MODES[channels], (width, height), np.ascontiguousarray(pixels), "raw", MODES[channels], 0, 1
    )


def _without_single(pixels: Pixels) -> Pixels:
    """(height, width) for (height, width, 1)."""
    return pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
