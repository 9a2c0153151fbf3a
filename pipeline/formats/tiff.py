"""TIFF and BigTIFF: pages, ImageJ's hyperstacks, OME-TIFF with its series and levels; in strips or tiles.

Opening walks through the pages' directories; a box then costs the strips or tiles that it touches.
"""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from pipeline.errors import VolumeError
from pipeline.formats.handles import HANDLES
from pipeline.formats.source import ArraySource, check_sizes, fingerprint_of, native_dtype, stamp
from pipeline.formats.tiff_directory import LENGTH, WIDTH, TiffDirectories
from pipeline.formats.tiff_ome import is_spread
from pipeline.formats.tiff_page import page_axes, page_box, page_chunks, page_unit
from pipeline.formats.tiff_planes import PlaneReader, is_plain, key_page
from pipeline.formats.tiff_spread import SpreadSource, open_spread
from pipeline.formats.tiff_stack import Stack, at_level, read_stacks

LISTED = 50  # series that an error lists

# tifffile tells a log about what it finds odd; what matters of it is raised here.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True, kw_only=True, eq=False)
class TiffSource(ArraySource):
    """One series of a TIFF file, at one level."""

    path: str
    dataset: str
    level: int
    lead: tuple[int, ...]  # axes across pages

    def fetch(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        planes, page = HANDLES.get(("tiff", self.path, self.dataset, self.level, self.stamp), self._open)
        across, within = box[: len(self.lead)], page_box(page, box[len(self.lead) :])
        out = np.empty([s.stop - s.start for s in (*across, *within)], self.dtype)
        for index in np.ndindex(*[s.stop - s.start for s in across]):
            plane = 0
            for n, s, i in zip(self.lead, across, index, strict=True):
                plane = plane * n + s.start + i
            planes.read(plane, within, out[index])
        return out.reshape([s.stop - s.start for s in box])

    def _open(self) -> tuple[PlaneReader, tifffile.TiffPage]:
        tiff = TiffDirectories(self.path)
        stack = at_level(tiff, _choose(tiff, self.dataset), self.level)
        page = key_page(self.path, tiff, int(stack.offsets[0]))
        return PlaneReader(tiff, page, stack.offsets, stack.virtual), page


def open_source(path: str, dataset: str = "", level: int = 0) -> TiffSource | SpreadSource:
    """Describe a series of a TIFF file from the directories of its pages.

    Parameters
    ----------
    path : str
        The file.
    dataset : str, optional
        Number or name of a series; needed if there are several.
    level : int
        Which level of a pyramid, 0 the finest.

    Raises
    ------
    VolumeError
        If the file is damaged, too large in a way that the settings bound, or has no such series or level.
    """
    mark = stamp(path)
    tiff = TiffDirectories(path)
    if is_spread(tiff.text(tiff.directory(tiff.first)) if tiff.first else ""):
        return open_spread(path, tiff, dataset, level)
    stack = at_level(tiff, _choose(tiff, dataset), level)
    page = key_page(path, tiff, int(stack.offsets[0]))
    _check_virtual(path, tiff, page, stack)
    dtype = native_dtype(np.dtype(page.dtype), path)
    names, shape = page_axes(page)
    chunks = (1,) * len(stack.lead) + page_chunks(page, dtype.itemsize)
    check_sizes(path, (*stack.lead, *shape), chunks, dtype)
    axes = None if stack.axes is None else stack.axes + names
    if axes is not None and len(set(axes)) != len(axes):
        raise VolumeError(f"{path}: its axes are {axes}, one name comes twice; convert with bioformats2raw", "axes")
    return TiffSource(
        url=f"{path}/{dataset}".rstrip("/"),
        shape=(*stack.lead, *shape),
        dtype=dtype,
        chunks=chunks,
        unit=None if is_plain(page) or stack.virtual else (1,) * len(stack.lead) + page_unit(page),
        fingerprint=fingerprint_of("tiff", os.path.realpath(path), mark, dataset, level),
        axes=axes,
        spacing=stack.spacing,
        units=stack.units,
        stamped=path,
        stamp=mark,
        path=path,
        dataset=dataset,
        level=level,
        lead=stack.lead,
    )


def _choose(tiff: TiffDirectories, dataset: str) -> Stack:
    stacks = read_stacks(tiff)
    if not dataset and len(stacks) == 1:
        return stacks[0]
    texts = [f"{n} {_describe(tiff, stack)}" for n, stack in enumerate(stacks[:LISTED])]
    listing = "; ".join(texts + ([f"and {len(stacks) - LISTED} more"] if len(stacks) > LISTED else []))
    if not dataset:
        raise VolumeError(f"{tiff.path}: holds several series: {listing}; choose one with dataset= or --dataset")
    named = [stack for n, stack in enumerate(stacks) if dataset in (str(n), stack.name)]
    if not named:
        raise VolumeError(f"{tiff.path}: no series {dataset!r} inside; it holds {listing}")
    return named[0]


def _describe(tiff: TiffDirectories, stack: Stack) -> str:
    page = tiff.directory(int(stack.offsets[0]))
    shape = (*stack.lead, tiff.number(page, LENGTH, 0), tiff.number(page, WIDTH, 0))
    return f"{stack.name!r} {shape}" if stack.name else f"{shape}"


def _check_virtual(path: str, tiff: TiffDirectories, page: tifffile.TiffPage, stack: Stack) -> None:
    """Refuse planes without pages whose values are not all in the file."""
    if not stack.virtual:
        return
    if not page.is_final or page.shaped[0] != 1:
        raise VolumeError(f"{path}: {math.prod(stack.lead)} planes are announced, but there is one page")
    size = math.prod((*stack.lead, *page.shaped)) * np.dtype(page.dtype).itemsize
    if page.dataoffsets[0] + size > tiff.size:
        raise VolumeError(f"{path}: is cut off: {size:,} bytes are announced, the file has {tiff.size:,}")
