"""NumPy's .npy files, memory-mapped; arrays of objects, which are pickles, are refused.

The format has no place for names. `pipeline.writers.npy` puts them beside the file, into ``<name>.npy.json``, with the
size and time of the file that it belongs to. One that belongs to another state of the file, is damaged or is a link
counts as absent; axes that are not as many as the dimensions are a contradiction, which `pipeline.axes.choose` refuses.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.axes import check_names
from pipeline.errors import VolumeError
from pipeline.formats.source import (
    ArraySource,
    Stamp,
    check_sizes,
    fingerprint_of,
    native_dtype,
    one_line,
    slab_chunks,
    stamp,
)

LARGEST_NOTES = 1 << 20  # bytes; names, spacing and the record of a run are a few thousand


@dataclass(frozen=True, kw_only=True, eq=False)
class NpySource(ArraySource):
    """An .npy file."""

    def fetch(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        # Mapped anew for each box: pages that were read do not stay in the memory of the process.
        return np.array(np.lib.format.open_memmap(self.url, mode="r")[box])


@dataclass(frozen=True)
class _Notes:
    """What stands beside a file about it; nothing of that by default."""

    axes: str | None = None
    spacing: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()


def open_source(path: str) -> NpySource:
    """Describe an .npy file from its header, and from the notes that our own writer leaves beside it.

    Raises
    ------
    VolumeError
        If it is no .npy file, cut off, or holds anything but plain numbers.
    """
    mark = stamp(path)
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise VolumeError(f"{path}: not a readable .npy file: {one_line(error)}") from error
    dtype = native_dtype(array.dtype, path)
    slab = slab_chunks(array.shape, dtype.itemsize)
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        slab = slab_chunks(array.shape[::-1], dtype.itemsize)[::-1]
    check_sizes(path, array.shape, slab, dtype)
    notes = _read_notes(path, mark)
    return NpySource(
        url=path,
        shape=array.shape,
        dtype=dtype,
        chunks=slab,
        fingerprint=fingerprint_of("npy", os.path.realpath(path), mark),
        axes=notes.axes,
        spacing=notes.spacing,
        units=notes.units,
        channel_names=notes.names,
        stamped=path,
        stamp=mark,
    )


def _read_notes(path: str, mark: Stamp) -> _Notes:
    """The notes beside a file in the state `mark`; without content where they are not usable."""
    try:
        document = json.loads(_read_bounded(f"{path}.json"))
        if document["file"] != list(mark):
            return _Notes()
        axes = check_names(str(document["axes"]))
        lengths = {str(axis): float(value) for axis, value in document["spacing"].items()}
        return _Notes(
            axes,
            {axis: value for axis, value in lengths.items() if math.isfinite(value) and value > 0},
            {str(axis): str(unit) for axis, unit in document["units"].items()},
            # a segmentation names its classes, and has no channel for each: `Volume.channel_names` compares the number
            tuple(str(name) for name in document["class_names"]),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, VolumeError):
        return _Notes()


def _read_bounded(path: str) -> bytes:
    """The bytes of a file itself, no link or pipe; ValueError above `LARGEST_NOTES`."""
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for a writer
    with os.fdopen(number, "rb") as file:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_NOTES:
            raise ValueError(f"{path}: no file of at most {LARGEST_NOTES} bytes")
        return file.read(LARGEST_NOTES)
