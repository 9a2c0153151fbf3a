"""Compressed chunks of an HDF5 dataset, decoded in the thread that asks.

The library inflates a chunk to whatever size it has: one of 0.5 MB took 0.5 GiB, and was then read as if nothing were
wrong. It also decodes one chunk at a time, whichever thread asks. Measured on chunks of 64^3 uint16 in gzip with
shuffle, one core: 1.9 ms a chunk there, 1.0 here. Other filters than gzip, shuffle and the checksum are left to the
library; none of them makes more than a few hundred bytes of one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import h5py
import imagecodecs
import numpy as np
import numpy.typing as npt
from numcodecs import Shuffle

from pipeline.formats.chunk_grid import Index, read_chunks
from pipeline.formats.chunk_sizes import SLACK

DEFLATE, SHUFFLE, FLETCHER32, NBIT, SCALEOFFSET = 1, 2, 3, 5, 6
CHECKSUM_BYTES = 4
ABSENT = ("not allocated", "address isn't defined")  # how the library says that there are no chunks, or not this one


@dataclass(frozen=True)
class Hdf5Chunks:
    """Reads boxes of one dataset; made by `chunk_reader`.

    Parameters
    ----------
    dataset : h5py.Dataset
    filters : tuple of int
        Their numbers, in the order in which they were applied.
    """

    dataset: h5py.Dataset
    filters: tuple[int, ...]

    def read(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        """The voxels of a non-empty box inside the dataset, in the machine's byte order; may raise anything."""
        dtype = self.dataset.dtype.newbyteorder("=")
        return read_chunks(box, self.dataset.chunks, dtype, self.dataset.fillvalue, self._decode)

    def _decode(self, index: Index) -> npt.NDArray[Any] | None:
        first = tuple(i * n for i, n in zip(index, self.dataset.chunks, strict=True))
        dtype = self.dataset.dtype
        size = math.prod(self.dataset.chunks) * dtype.itemsize
        try:
            skipped, data = self.dataset.id.read_direct_chunk(first, out=np.empty(2 * size + SLACK, np.uint8))
        except RuntimeError as error:
            if any(text in str(error) for text in ABSENT):
                return None
            raise
        for place in reversed(range(len(self.filters))):
            if skipped >> place & 1:
                continue
            inner = self.filters[:place]
            checksums = sum(code == FLETCHER32 and not skipped >> k & 1 for k, code in enumerate(inner))
            data = _undo(self.filters[place], data, size + CHECKSUM_BYTES * checksums, dtype.itemsize)
        if len(data) != size:
            raise ValueError(f"it holds {len(data):,} bytes, not {size:,}")
        return np.frombuffer(data, dtype).reshape(self.dataset.chunks)


def chunk_reader(dataset: h5py.Dataset) -> Hdf5Chunks | None:
    """A reader for a dataset of plain numbers in chunks; None where the library has to read it."""
    create = dataset.id.get_create_plist()
    filters = tuple(create.get_filter(number)[0] for number in range(create.get_nfilters()))
    plain = dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype))
    if dataset.chunks is None or not filters or not set(filters) <= {DEFLATE, SHUFFLE, FLETCHER32} or not plain:
        return None
    return Hdf5Chunks(dataset, filters)


def check_filters(dataset: h5py.Dataset) -> None:
    """Refuse filters that would make room for more values than a chunk has.

    Raises
    ------
    ValueError
    """
    create = dataset.id.get_create_plist()
    for number in range(create.get_nfilters()):
        code, _, options, _ = create.get_filter(number)
        if code in (NBIT, SCALEOFFSET) and (len(options) < 3 or options[2] != math.prod(dataset.chunks)):
            raise ValueError("its filter is for chunks of another size")


def _undo(code: int, data: bytes, size: int, itemsize: int) -> Any:
    """What was in front of a filter: `size` bytes."""
    if code == DEFLATE:
        return imagecodecs.deflate_decode(data, out=size)
    if code == SHUFFLE:
        whole = len(data) // itemsize * itemsize  # a checksum behind the values is not shuffled
        return bytes(Shuffle(itemsize).decode(data[:whole])) + bytes(data[whole:])
    kept, stored = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if int.from_bytes(stored, "little") != imagecodecs.h5checksum_fletcher32(kept):
        raise ValueError("its checksum is wrong")
    return kept
