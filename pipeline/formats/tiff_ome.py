"""OME-XML, as OME-TIFF files carry it: which page is which plane of which image.

Source: the OME model, "OME-TIFF specification" (TiffData) and the schema of Pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from pipeline.errors import VolumeError
from pipeline.formats.source import one_line

DEFAULT_UNITS = {"x": "µm", "y": "µm", "z": "µm", "t": "s"}
SIZES = {"x": "PhysicalSizeX", "y": "PhysicalSizeY", "z": "PhysicalSizeZ", "t": "TimeIncrement"}


@dataclass(frozen=True)
class Image:
    """One image: the page of each plane, and the axes across pages with their lengths, slowest first."""

    name: str
    lead: list[tuple[str, int]]
    pages: npt.NDArray[np.int64]
    spacing: dict[str, float]
    units: dict[str, str]


def read_images(text: str, n_pages: int, path: str) -> list[Image]:
    """The images that a file's OME-XML describes.

    Raises
    ------
    VolumeError
        If the text is damaged, describes no image, more planes than the file has pages, or planes in other files.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise VolumeError(f"{path}: its OME-XML declares entities, which are not read")
    try:
        root = ElementTree.fromstring(text)
        images = list(_images(root, n_pages, path))
    except (ElementTree.ParseError, ValueError, KeyError, RecursionError) as error:
        raise VolumeError(f"{path}: its OME-XML is damaged: {one_line(error)}") from error
    if not images:
        raise VolumeError(f"{path}: its OME-XML describes no image in this file; convert with bioformats2raw")
    return images


def _images(root: ElementTree.Element, n_pages: int, path: str) -> Iterator[Image]:
    _check_one_file(root, path)
    for image in _children(root, "Image"):
        for pixels in _children(image, "Pixels"):
            yield _image(image.get("Name", ""), pixels, n_pages, path)


def _image(name: str, pixels: ElementTree.Element, n_pages: int, path: str) -> Image:
    order = pixels.attrib["DimensionOrder"].lower()
    if sorted(order) != sorted("xyczt") or order[:2] != "xy":
        raise ValueError(f"DimensionOrder {order!r}")
    channels = _children(pixels, "Channel")
    samples = int(channels[0].get("SamplesPerPixel", "1")) if channels else 1
    lead = [(axis, int(pixels.attrib[f"Size{axis.upper()}"])) for axis in reversed(order[2:])]
    lead = [(axis, n // samples if axis == "c" and samples > 0 else n) for axis, n in lead]
    if any(n < 1 for _, n in lead):
        raise ValueError(f"an image of {lead}")
    planes = math.prod(n for _, n in lead)
    if planes > n_pages:
        raise VolumeError(f"{path}: its OME-XML names {planes:,} planes, but the file holds {n_pages:,} pages")
    spacing, units = _distances(pixels)
    return Image(name, lead, _pages(pixels, lead, planes, n_pages), spacing, units)


def _pages(
    pixels: ElementTree.Element, lead: list[tuple[str, int]], planes: int, n_pages: int
) -> npt.NDArray[np.int64]:
    """The page of each plane, from the TiffData blocks: each says where some planes start, and on which page."""
    pages = np.full(planes, -1, np.int64)
    for block in _children(pixels, "TiffData"):
        first = [int(block.get(f"First{axis.upper()}", "0")) for axis, _ in lead]
        plane = int(np.ravel_multi_index(first, [n for _, n in lead]))
        page = int(block.get("IFD", "0"))
        count = int(block.get("PlaneCount", block.get("NumPlanes", "1" if "IFD" in block.attrib else str(planes))))
        if page < 0 or count < 0 or page + count > n_pages or plane + count > planes:
            raise ValueError(f"TiffData names pages {page} to {page + count} of {n_pages}")
        pages[plane : plane + count] = np.arange(page, page + count)
    missing = np.flatnonzero(pages < 0)
    if missing.size:
        raise ValueError(f"{missing.size} of {planes} planes have no page, the first is plane {missing[0]}")
    return pages


def _check_one_file(root: ElementTree.Element, path: str) -> None:
    """Refuse an image spread over files. (One file that was renamed since still names its old self, and only that.)"""
    if _children(root, "BinaryOnly"):
        raise VolumeError(f"{path}: its OME-XML is in another file; convert with bioformats2raw and open the .zarr")
    names = {uuid.text for uuid in root.iter() if uuid.tag.endswith("}UUID") or uuid.tag == "UUID"}
    own = root.get("UUID")
    if len(names) > 1 or (own is not None and names - {own}):
        raise VolumeError(f"{path}: its planes are spread over {len(names | {own})} files; convert with bioformats2raw")


def _distances(pixels: ElementTree.Element) -> tuple[dict[str, float], dict[str, str]]:
    spacing, units = {}, {}
    for axis, key in SIZES.items():
        try:
            value = float(pixels.get(key, "nan"))
        except ValueError:
            continue
        if math.isfinite(value) and value > 0:
            spacing[axis], units[axis] = value, pixels.get(f"{key}Unit", DEFAULT_UNITS[axis])
    return spacing, units


def _children(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in element if child.tag.rsplit("}", 1)[-1] == name]
