"""NumPy's .npy files, memory-mapped; arrays of objects, which are pickles, are refused."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import VolumeError
from pipeline.formats.source import ArraySource, check_sizes, fingerprint_of, native_dtype, one_line, slab_chunks, stamp


@dataclass(frozen=True, kw_only=True, eq=False)
class NpySource(ArraySource):
    """An .npy file."""

    def fetch(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        # Mapped anew for each box: pages that were read do not stay in the memory of the process.
        return np.array(np.lib.format.open_memmap(self.url, mode="r")[box])


def open_source(path: str) -> NpySource:
    """Describe an .npy file from its header.

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
    return NpySource(
        url=path,
        shape=array.shape,
        dtype=dtype,
        chunks=slab,
        fingerprint=fingerprint_of("npy", os.path.realpath(path), mark),
        stamped=path,
        stamp=mark,
    )
