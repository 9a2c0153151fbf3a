"""Folders and patterns of slices: TIFF, PNG or JPEG files of one size and type, one behind the other.

Files come in natural order: z2 before z10. Opening looks at the first and the last one; each is checked when it is
read.
"""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ReadError, VolumeError
from pipeline.formats import image, tiff
from pipeline.formats.handles import HANDLES
from pipeline.formats.source import ArraySource, Source, Stamp, fingerprint_of, stamp
from pipeline.formats.tiff_spread import SpreadSource

MODULES: dict[str, Any] = {".tif": tiff, ".tiff": tiff, ".png": image, ".jpg": image, ".jpeg": image}
MOST_FILES = 1_000_000
STACKED = "ztc"  # what the files follow each other along: the first that a file does not have itself


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceSource(ArraySource):
    """Files of slices; the first axis goes from file to file."""

    def fetch(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        files: list[tuple[str, Stamp]] = HANDLES.get(("slices", self.url, self.fingerprint), self._list)
        out = np.empty([s.stop - s.start for s in box], self.dtype)
        start, stop = [s.start for s in box[1:]], [s.stop for s in box[1:]]
        for number in range(box[0].start, box[0].stop):
            path, mark = files[number]
            try:
                one = _open(path, mark)
            except OSError as error:
                raise ReadError(f"{path}: cannot be opened: {error.strerror or error}") from error
            if (one.shape, one.dtype) != (self.shape[1:], self.dtype):
                raise ReadError(f"{path}: is {_kind(one)}, the slices before it are {self._kind()}")
            out[number - box[0].start] = one.read(start, stop)
        return out

    def _list(self) -> list[tuple[str, Stamp]]:
        files = _files(self.url)
        if _fingerprint(files) != self.fingerprint:
            raise ReadError(f"{self.url}: files changed after it was opened; open it again")
        return files

    def _kind(self) -> str:
        return f"{self.dtype} {self.shape[1:]}"


def open_source(path: str) -> SliceSource:
    """Describe the slices in a folder, or those that a pattern such as ``slices/z*.tif`` names.

    Raises
    ------
    VolumeError
        If there are none, files of several kinds in a folder, or the last one differs from the first in shape or type.
    """
    files = _files(path)
    first, last = _open(*files[0]), _open(*files[-1])
    if (first.shape, first.dtype, first.axes) != (last.shape, last.dtype, last.axes):
        names = f"{os.path.basename(files[0][0])} is {_kind(first)}, {os.path.basename(files[-1][0])} {_kind(last)}"
        raise VolumeError(f"{path}: slices must be alike: {names}")
    free = [axis for axis in STACKED if axis not in (first.axes or "")]
    axes = free[0] + first.axes if first.axes is not None and free else None
    return SliceSource(
        url=path,
        shape=(len(files), *first.shape),
        dtype=first.dtype,
        chunks=(1, *first.chunks),
        fingerprint=_fingerprint(files),
        axes=axes,
        spacing=first.spacing,
        units=first.units,
    )


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts names as people count: digits by their value, the rest by letter."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def _open(path: str, mark: Stamp) -> Source:
    source: Source = MODULES[_suffix(path)].open_source(path)
    if isinstance(source, SpreadSource):
        raise VolumeError(f"{path}: is a part of one OME-TIFF image in several files; open this file, not its folder")
    if getattr(source, "stamp", mark) != mark:
        raise ReadError(f"{path}: the file changed after it was opened; open it again")
    return source


def _files(path: str) -> list[tuple[str, Stamp]]:
    folder, pattern = (path, None) if os.path.isdir(path) else os.path.split(path)
    try:
        if not os.path.isdir(folder):
            raise FileNotFoundError(2, "No such file or folder", folder)
        names = glob.glob(glob.escape(folder) + os.sep + pattern) if pattern else _images(folder)
        files = [name for name in names if os.path.isfile(name)]
        found = [(name, stamp(name)) for name in sorted(files, key=lambda name: natural_key(os.path.basename(name)))]
    except OSError as error:
        raise ReadError(f"{path}: {error.strerror or error}") from error
    if not found:
        raise VolumeError(f"{path}: no files of slices; known are {', '.join(sorted(MODULES))}")
    suffixes = {_suffix(name) for name, _ in found}
    unknown = suffixes - set(MODULES)
    if unknown:
        raise VolumeError(
            f"{path}: slices are {', '.join(sorted(MODULES))}; it names {', '.join(sorted(unknown))}, too"
        )
    if len({MODULES[suffix] for suffix in suffixes}) > 1:
        raise VolumeError(f"{path}: holds slices of several formats; choose with a pattern, such as '{path}/*.tif'")
    return found


def _images(folder: str) -> list[str]:
    """The images in a folder; links that lead out of it are refused."""
    base = os.path.realpath(folder)
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if _suffix(entry.name) in MODULES]
    if len(found) > MOST_FILES:
        raise VolumeError(f"{folder}: {len(found):,} slices; up to {MOST_FILES:,} are read", code="too_large")
    for entry in found:
        if entry.is_symlink() and os.path.dirname(os.path.realpath(entry.path)) != base:
            text = "leads out of the folder; links are not followed there"
            raise VolumeError(f"{folder}: {entry.name!r} {text}", code="unsafe_link")
    return [entry.path for entry in found]


def _suffix(name: str) -> str:
    return PurePath(name).suffix.lower()


def _fingerprint(files: list[tuple[str, Stamp]]) -> str:
    return fingerprint_of("slices", [(os.path.realpath(name), mark) for name, mark in files])


def _kind(source: Source) -> str:
    return f"{source.dtype} {source.shape}"
