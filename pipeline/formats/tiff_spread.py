"""OME-TIFF whose planes are spread over several files of one folder.

The OME-XML says of each plane which file it is in, by name; it lies in each of the files, or in one that they name. A
name that leads out of the folder is refused.

Source: the OME model, "OME-TIFF specification", sections "Distributed across multiple TIFF files" and "BinaryOnly".
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import tifffile

from pipeline.config import settings
from pipeline.errors import ReadError, VolumeError
from pipeline.formats.handles import HANDLES
from pipeline.formats.source import ArraySource, Stamp, check_sizes, fingerprint_of, native_dtype, one_line, stamp
from pipeline.formats.tiff_directory import TiffDirectories
from pipeline.formats.tiff_ome import check_text, children, distances, lead_axes
from pipeline.formats.tiff_page import page_axes, page_box, page_chunks, page_unit
from pipeline.formats.tiff_planes import PlaneReader, is_plain, key_page
from pipeline.formats.tiff_stack import coarser, sub_directories, unit_name


@dataclass(frozen=True, kw_only=True, eq=False)
class SpreadSource(ArraySource):
    """One image in several files.

    Parameters
    ----------
    files : tuple of (str, Stamp)
        The files, and their states when it was opened.
    places : ndarray of int32, (planes, 2)
        Number of the file and of the page in it, for each plane.
    lead : tuple of int
        Axes across planes.
    level : int
        Which level of each plane's pyramid.
    """

    files: tuple[tuple[str, Stamp], ...]
    places: npt.NDArray[np.int32]
    lead: tuple[int, ...]
    level: int

    def fetch(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        across, within = box[: len(self.lead)], box[len(self.lead) :]
        out = np.empty([s.stop - s.start for s in box], self.dtype)
        for index in np.ndindex(*[s.stop - s.start for s in across]):
            at = [s.start + i for s, i in zip(across, index, strict=True)]
            file, number = self.places[int(np.ravel_multi_index(at, self.lead)) if at else 0]
            self._read_plane(self.files[file], int(number), within, out[index])
        return out

    def _read_plane(
        self, file: tuple[str, Stamp], number: int, within: tuple[slice, ...], out: npt.NDArray[Any]
    ) -> None:
        planes, page, count = HANDLES.get(("spread", file, self.level), lambda: _open(*file, self.level))
        if (page_axes(page)[1], np.dtype(page.dtype).newbyteorder("=")) != (self.shape[len(self.lead) :], self.dtype):
            raise ReadError(f"{file[0]}: its pages differ from those of {self.url} in size or type")
        if number >= count:
            raise ReadError(f"{file[0]}: has {count} pages, but page {number} is wanted; the file is not what is named")
        inner = page_box(page, within)
        planes.read(number, inner, out.reshape([s.stop - s.start for s in inner]))


def open_spread(path: str, tiff: TiffDirectories, dataset: str, level: int) -> SpreadSource:
    """Describe an image that a file's OME-XML says to be in several files.

    Raises
    ------
    VolumeError
        If the text is damaged, a file is missing or named outside the folder, or there is no such image or level.
    """
    try:
        root = _read_root(path, tiff)
        pixels = _choose(root, path, dataset)
        lead = [(axis, n) for axis, n in lead_axes(pixels) if n > 1]
        names, places = _places(root, pixels, path)
        spacing, units = distances(pixels)
    except (ElementTree.ParseError, ValueError, KeyError, RecursionError) as error:
        raise VolumeError(f"{path}: its OME-XML is damaged: {one_line(error)}") from error
    files = tuple((name, _stamp(name, path)) for name in names)
    name, mark = files[int(places[0, 0])]
    page = _open(name, mark, level)[1]
    if level:
        first = TiffDirectories(name)
        spacing = coarser(first, spacing, int(_offsets(first)[0]), page.offset)
    dtype, (axes, shape) = native_dtype(np.dtype(page.dtype), path), page_axes(page)
    lengths = tuple(n for _, n in lead)
    chunks = (1,) * len(lead) + page_chunks(page, dtype.itemsize)
    check_sizes(path, (*lengths, *shape), chunks, dtype)
    axes = "".join(axis for axis, _ in lead) + axes
    if len(set(axes)) != len(axes):
        raise VolumeError(f"{path}: its axes are {axes}, one name comes twice; convert with bioformats2raw", "axes")
    return SpreadSource(
        url=f"{path}/{dataset}".rstrip("/"),
        shape=(*lengths, *shape),
        dtype=dtype,
        chunks=chunks,
        unit=None if is_plain(page) else (1,) * len(lead) + page_unit(page),
        fingerprint=fingerprint_of("spread", [(os.path.realpath(name), mark) for name, mark in files], dataset, level),
        axes=axes,
        spacing=spacing,
        units={axis: unit_name(unit) for axis, unit in units.items()},
        stamped=path,
        stamp=stamp(path),
        files=files,
        places=places,
        lead=lengths,
        level=level,
    )


def _read_root(path: str, tiff: TiffDirectories) -> ElementTree.Element:
    """The OME-XML of a file, or that of the file which it names."""
    text = tiff.text(tiff.directory(tiff.first))
    check_text(text, path)
    root = ElementTree.fromstring(text)
    elsewhere = children(root, "BinaryOnly")
    if not elsewhere:
        return root
    name = _beside(path, elsewhere[0].attrib["MetadataFile"])
    _stamp(name, path)
    if name.lower().endswith((".tif", ".tiff")):
        other = TiffDirectories(name)
        text = other.text(other.directory(other.first))
    else:
        with open(name, "rb") as file:
            data = file.read(settings().tiff_directory + 1)
        if len(data) > settings().tiff_directory:
            raise VolumeError(f"{name}: is larger than VOXELFOREST_TIFF_DIRECTORY allows", "too_large")
        text = data.decode("utf-8")
    check_text(text, name)
    return ElementTree.fromstring(text)


def _choose(root: ElementTree.Element, path: str, dataset: str) -> ElementTree.Element:
    """The pixels of the image that is meant."""
    found = [
        (image.get("Name", ""), pixels) for image in children(root, "Image") for pixels in children(image, "Pixels")
    ]
    named = [pixels for n, (name, pixels) in enumerate(found) if dataset in (str(n), name)] if dataset else []
    if named or (len(found) == 1 and not dataset):
        return named[0] if named else found[0][1]
    listing = "; ".join(f"{n} {name!r}" for n, (name, _) in enumerate(found[:50])) or "none"
    what = f"no series {dataset!r} inside; it holds {listing}" if dataset else f"holds several series: {listing}"
    raise VolumeError(f"{path}: {what}{'' if dataset else '; choose one with dataset= or --dataset'}")


def _places(
    root: ElementTree.Element, pixels: ElementTree.Element, path: str
) -> tuple[list[str], npt.NDArray[np.int32]]:
    """The files, and for each plane the number of its file and of its page."""
    lead = lead_axes(pixels)
    planes = math.prod(n for _, n in lead)
    if planes > settings().tiff_pages:
        limit = f"VOXELFOREST_TIFF_PAGES allows {settings().tiff_pages:,}"
        raise VolumeError(f"{path}: its OME-XML names {planes:,} planes; {limit}", "too_large")
    names: dict[str, int] = {}
    places = np.full((planes, 2), -1, np.int32)
    for block in children(pixels, "TiffData"):
        first = [int(block.get(f"First{axis.upper()}", "0")) for axis, _ in lead]
        plane = int(np.ravel_multi_index(first, [n for _, n in lead]))
        page = int(block.get("IFD", "0"))
        count = int(block.get("PlaneCount", block.get("NumPlanes", "1" if "IFD" in block.attrib else str(planes))))
        if page < 0 or count < 0 or plane + count > planes or page + count > settings().tiff_pages:
            raise ValueError(f"TiffData names planes {plane} to {plane + count} of {planes}")
        uuid = children(block, "UUID")
        given = uuid[0].get("FileName") if uuid else None
        if uuid and given is None and uuid[0].text != root.get("UUID"):
            raise VolumeError(f"{path}: its OME-XML names a file by {uuid[0].text} alone; convert with bioformats2raw")
        name = path if given is None else _beside(path, given)
        places[plane : plane + count, 0] = names.setdefault(name, len(names))
        places[plane : plane + count, 1] = np.arange(page, page + count)
    missing = int((places[:, 0] < 0).sum())
    if missing:
        raise ValueError(f"{missing} of {planes} planes have no page")
    return list(names), places


def _beside(path: str, name: str) -> str:
    """A file in the folder of `path`; links and names that lead out of it are refused."""
    folder = os.path.dirname(os.path.abspath(path))
    there = os.path.join(folder, name)
    inside = name not in ("", ".", "..") and not set(name) & {"/", "\\", "\0"}
    if not inside or os.path.dirname(os.path.realpath(there)) != os.path.realpath(folder):
        raise VolumeError(f"{path}: names the file {name!r}, which leads out of the folder", code="unsafe_link")
    return there


def _stamp(name: str, path: str) -> Stamp:
    try:
        return stamp(name)
    except OSError as error:
        raise VolumeError(f"{path}: has planes in {os.path.basename(name)}, which is not there") from error


def _offsets(tiff: TiffDirectories) -> npt.NDArray[np.int64]:
    """Where the directories of a file's pages lie."""
    offsets = np.array([page.offset for page in tiff.walk()], np.int64)
    if not len(offsets):
        raise VolumeError(f"{tiff.path}: holds no page")
    return offsets


def _open(name: str, mark: Stamp, level: int) -> tuple[PlaneReader, tifffile.TiffPage, int]:
    """Reader of a file's pages at a level, the first of them, and how many there are."""
    if stamp(name) != mark:
        raise ReadError(f"{name}: the file changed after it was opened; open it again")
    tiff = TiffDirectories(name)
    offsets = _offsets(tiff)
    if level:
        offsets = sub_directories(tiff, offsets, level)
    page = key_page(name, tiff, int(offsets[0]))
    return PlaneReader(tiff, page, offsets, False), page, len(offsets)
