"""PNG and JPEG: one plane, grey (yx) or with 2 to 4 channels (yxc)."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ImageFile, JpegImagePlugin, PngImagePlugin

from pipeline.config import settings
from pipeline.errors import VolumeError
from pipeline.formats.source import ArraySource, fingerprint_of, native_dtype, one_line, stamp

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
CHANNELS = {"1": 0, "L": 0, "I;16": 0, "I;16B": 0, "I": 0, "LA": 2, "RGB": 3, "RGBA": 4}  # of the modes that are read


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSource(ArraySource):
    """A PNG or JPEG file, which is decoded as a whole."""

    def fetch(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        with open(self.url, "rb") as file:
            picture = _parse(file, self.url)
            picture.load()
            pixels = np.asarray(picture.convert(_palette_mode(picture)) if picture.mode == "P" else picture)
            return pixels[box].copy()  # without the rest of it


def open_source(path: str) -> ImageSource:
    """Describe a PNG or JPEG from its header.

    Raises
    ------
    VolumeError
        If it is neither, larger than the setting ``image_pixels``, animated, or of a kind whose values would be
        changed by decoding: 16-bit colour, CMYK.
    """
    mark = stamp(path)
    with open(path, "rb") as file:
        picture = _parse(file, path)
        mode = _palette_mode(picture) if picture.mode == "P" else picture.mode
        _check_picture(picture, mode, path)
        dtype = _dtype(mode)
    channels = CHANNELS[mode]
    shape = (picture.height, picture.width, channels)[: 3 if channels else 2]
    return ImageSource(
        url=path,
        shape=shape,
        dtype=native_dtype(dtype, path),
        chunks=shape,
        unit=shape,
        fingerprint=fingerprint_of("image", os.path.realpath(path), mark),
        axes="yxc" if channels else "yx",
        stamped=path,
        stamp=mark,
    )


def _parse(file: BinaryIO, path: str) -> ImageFile.ImageFile:
    """Read the header; the plug-ins are called by name, so that only these two of Pillow's formats see the file."""
    magic = file.read(32)
    file.seek(0)
    try:
        if magic.startswith(PNG_MAGIC):
            _check_depth(magic, path)
            return PngImagePlugin.PngImageFile(file, path)
        if magic.startswith(JPEG_MAGIC):
            return JpegImagePlugin.JpegImageFile(file, path)
    except (OSError, SyntaxError, ValueError, IndexError, KeyError, EOFError, io.UnsupportedOperation) as error:
        raise VolumeError(f"{path}: not a readable image: {one_line(error)}") from error
    raise VolumeError(f"{path}: neither PNG nor JPEG by its first bytes")


def _check_depth(header: bytes, path: str) -> None:
    """Refuse 16-bit PNG with several channels: Pillow keeps the upper 8 bits alone (IHDR: depth, colour type)."""
    depth, colour = header[24:26]
    if depth == 16 and colour != 0:
        raise VolumeError(f"{path}: 16-bit PNG in colour or with alpha is not read exactly; convert it to .npy or .h5")


def _check_picture(picture: ImageFile.ImageFile, mode: str, path: str) -> None:
    limit = settings().image_pixels
    if picture.width * picture.height > limit:
        size = f"{picture.width} x {picture.height}"
        raise VolumeError(f"{path}: {size} pixels; VOXELFOREST_IMAGE_PIXELS allows {limit:,}", code="too_large")
    if mode not in CHANNELS:
        raise VolumeError(f"{path}: pixels of kind {mode!r} are not read; known are grey, grey + alpha, RGB, RGBA")
    if getattr(picture, "is_animated", False):
        raise VolumeError(f"{path}: is animated; export its frames to one array, such as .npy")


def _palette_mode(picture: ImageFile.ImageFile) -> str:
    return "RGBA" if "transparency" in picture.info else "RGB"


def _dtype(mode: str) -> np.dtype[Any]:
    return np.dtype({"1": "bool", "I": "int32"}.get(mode, "uint16" if mode.startswith("I;16") else "uint8"))
