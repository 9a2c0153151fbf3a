"""A look at the strings of an HDF5 dataset before the library reads them.

Strings of variable length lie in global heaps; the dataset holds a reference to each: length, address of the heap,
number in it. A heap is a header of 16 bytes (``GCOL``, version, size), then objects, each with its own size. libhdf5
allocates whatever length a reference declares, and follows the sizes in a heap without end if one of them is zero: a
few damaged bytes take all memory or stop the whole process where nothing can interrupt it. So both are followed here
first, within bounds.
"""

from __future__ import annotations

import os
import struct

import h5py

_SIGNATURE = b"GCOL\x01"
_HEADER = struct.Struct("<8xQ")
_OBJECT = struct.Struct("<HxxxxxxQ")
_REFERENCE = struct.Struct("<IQ4x")


def strings_are_sound(file: h5py.File, dataset: h5py.Dataset, descriptor: int) -> bool:
    """Whether reading a dataset of variable-length strings ends, and takes no more memory than the file's size.

    Parameters
    ----------
    file : h5py.File
        The file as the library has it.
    dataset : h5py.Dataset
        At least one string; False if they are not stored contiguously, which h5py and ilastik always do.
    descriptor : int
        The same file, open for reading.
    """
    properties = file.id.get_create_plist()
    offset = dataset.id.get_offset()
    if offset is None or properties.get_sizes() != (8, 8):  # widths of addresses and lengths; nobody writes others
        return False
    stored = os.pread(descriptor, dataset.size * _REFERENCE.size, offset)
    if len(stored) < dataset.size * _REFERENCE.size:
        return False
    references = list(_REFERENCE.iter_unpack(stored))
    file_size = os.fstat(descriptor).st_size
    heaps = {properties.get_userblock() + heap for _, heap in references if heap}
    return sum(length for length, _ in references) <= file_size and all(
        _heap_ends(descriptor, heap, file_size) for heap in heaps
    )


def _heap_ends(descriptor: int, heap: int, file_size: int) -> bool:
    """Whether the objects of the heap at this address lie inside it, each after the one before."""
    if heap > file_size - _HEADER.size:
        return False
    header = os.pread(descriptor, _HEADER.size, heap)
    end = heap + _HEADER.unpack(header)[0]
    if not header.startswith(_SIGNATURE) or end > file_size:
        return False
    at = heap + _HEADER.size
    while at + _OBJECT.size <= end:
        index, size = _OBJECT.unpack(os.pread(descriptor, _OBJECT.size, at))
        step = _OBJECT.size + -(-size // 8) * 8 if index else size  # number 0 is free space, header included
        if step == 0 or step > end - at:
            return False
        at += step
    return True
