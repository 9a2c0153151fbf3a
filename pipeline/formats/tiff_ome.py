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
        If the text is damaged, describes no image, or more planes than the file has pages.
    """
    check_text(text, path)
    try:
        images = list(_images(ElementTree.fromstring(text), n_pages, path))
    except (ElementTree.ParseError, ValueError, KeyError, RecursionError) as error:
        raise VolumeError(f"{path}: its OME-XML is damaged: {one_line(error)}") from error
    if not images:
        raise VolumeError(f"{path}: its OME-XML describes no image in this file; convert with bioformats2raw")
    return images


def is_ome(text: str) -> bool:
    """Whether a page's words are OME-XML."""
    return "<OME" in text[:4096] and text.rstrip().endswith("OME>")


def check_text(text: str, path: str) -> None:
    """Refuse OME-XML that defines words of its own, which could unfold without end.

    Raises
    ------
    VolumeError
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise VolumeError(f"{path}: its OME-XML declares entities, which are not read")


def is_spread(text: str) -> bool:
    """Whether OME-XML speaks of planes in other files; damaged text is left to who reads it.

    One file that was renamed since still names its old self, and only that.
    """
    if not is_ome(text) or "<!DOCTYPE" in text or "<!ENTITY" in text:
        return False
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError):
        return False
    names = {uuid.text for uuid in root.iter() if uuid.tag.rsplit("}", 1)[-1] == "UUID"}
    own = root.get("UUID")
    return bool(children(root, "BinaryOnly")) or len(names) > 1 or (own is not None and bool(names - {own}))


def _images(root: ElementTree.Element, n_pages: int, path: str) -> Iterator[Image]:
    for image in children(root, "Image"):
        for pixels in children(image, "Pixels"):
            yield _image(image.get("Name", ""), pixels, n_pages, path)


def _image(name: str, pixels: ElementTree.Element, n_pages: int, path: str) -> Image:
    lead = lead_axes(pixels)
    planes = math.prod(n for _, n in lead)
    if planes > n_pages:
        raise VolumeError(f"{path}: its OME-XML names {planes:,} planes, but the file holds {n_pages:,} pages")
    spacing, units = distances(pixels)
    return Image(name, lead, _pages(pixels, lead, planes, n_pages), spacing, units)


def lead_axes(pixels: ElementTree.Element) -> list[tuple[str, int]]:
    """The axes across pages with their lengths, slowest first; ValueError if there is no sense in them."""
    order = pixels.attrib["DimensionOrder"].lower()
    if sorted(order) != sorted("xyczt") or order[:2] != "xy":
        raise ValueError(f"DimensionOrder {order!r}")
    channels = children(pixels, "Channel")
    samples = int(channels[0].get("SamplesPerPixel", "1")) if channels else 1
    lead = [(axis, int(pixels.attrib[f"Size{axis.upper()}"])) for axis in reversed(order[2:])]
    lead = [(axis, n // samples if axis == "c" and samples > 0 else n) for axis, n in lead]
    if any(n < 1 for _, n in lead):
        raise ValueError(f"an image of {lead}")
    return lead


def _pages(
    pixels: ElementTree.Element, lead: list[tuple[str, int]], planes: int, n_pages: int
) -> npt.NDArray[np.int64]:
    """The page of each plane, from the TiffData blocks: each says where some planes start, and on which page."""
    pages = np.full(planes, -1, np.int64)
    for block in children(pixels, "TiffData"):
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


def distances(pixels: ElementTree.Element) -> tuple[dict[str, float], dict[str, str]]:
    """Voxel size and its unit by axis."""
    spacing, units = {}, {}
    for axis, key in SIZES.items():
        try:
            value = float(pixels.get(key, "nan"))
        except ValueError:
            continue
        if math.isfinite(value) and value > 0:
            spacing[axis], units[axis] = value, pixels.get(f"{key}Unit", DEFAULT_UNITS[axis])
    return spacing, units


def children(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Those of a name, whatever its namespace."""
    return [child for child in element if child.tag.rsplit("}", 1)[-1] == name]
