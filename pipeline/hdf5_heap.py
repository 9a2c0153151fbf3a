"""A look at the heaps of an HDF5 file before the library walks them.

A few damaged bytes there make libhdf5 take all memory, or run for ever where nothing can interrupt it. So the same
steps are taken here first, within bounds:

- Names in a group lie in a local heap: a header (``HEAP``, version, size, first free block, address of the data). Each
  free block says where the next one is; the library follows them, cycle or not, and allocates at every step.
- Strings of variable length lie in global heaps: a header (``GCOL``, version, size), then objects, each with its size.
  The library follows the sizes, zero or not. A dataset holds references to them: length, address of the heap, number.
  The library allocates the length before it compares it with the object's.
"""

from __future__ import annotations

import os
import struct

import h5py

_SIGNATURE = b"GCOL\x01"
_LOCAL_SIGNATURE = b"HEAP\0"
_LOCAL_HEADER = struct.Struct("<8xQQQ")
_NO_FREE_BLOCK = 1
_SUPERBLOCK = b"\x89HDF\r\n\x1a\n"
_SCANNED_BYTES = 256 << 20
"""How far a file is searched for heaps: projects are smaller, unless whole volumes were copied into them."""

_WINDOW = 4 << 20
_NEXT = struct.Struct("<Q")
_HEADER = struct.Struct("<8xQ")
_OBJECT = struct.Struct("<HxxxxxxQ")
_REFERENCE = struct.Struct("<IQ4x")


def check_local_heap(descriptor: int, base: int, address: int) -> None:
    """Refuse the names of a group if their free blocks do not come to an end.

    Parameters
    ----------
    descriptor : int
        A file open for reading.
    base : int
        Where its addresses begin.
    address : int
        Of the heap.

    Raises
    ------
    ValueError
    """
    header = os.pread(descriptor, _LOCAL_HEADER.size, base + address) if address < 1 << 62 else b""
    if len(header) == _LOCAL_HEADER.size and header.startswith(_LOCAL_SIGNATURE):
        size, first, data = _LOCAL_HEADER.unpack(header)
        if data < 1 << 62 and not _free_blocks_end(descriptor, base + data, size, first):
            raise ValueError("the names of a group are damaged: their free blocks do not end")


def global_heaps_are_sound(descriptor: int) -> bool:
    """Whether the objects of every global heap in a file come to an end: for texts whose heap cannot be asked for.

    Parameters
    ----------
    descriptor : int
        A file open for reading; of very large ones the beginning is searched.
    """
    size = os.fstat(descriptor).st_size
    for start in range(0, min(size, _SCANNED_BYTES), _WINDOW):
        window = os.pread(descriptor, _WINDOW + len(_SIGNATURE) - 1, start)
        at = window.find(_SIGNATURE)
        while at >= 0:
            if not _heap_ends(descriptor, start + at, size):
                return False
            at = window.find(_SIGNATURE, at + 1)
    return True


def find_superblock(descriptor: int) -> int:
    """Where the HDF5 part of a file begins: 0, or after a user block of 512, 1024, ... bytes."""
    at, size = 0, os.fstat(descriptor).st_size
    while at < size and os.pread(descriptor, len(_SUPERBLOCK), at) != _SUPERBLOCK:
        at = max(512, 2 * at)
    return at if at < size else 0


def _free_blocks_end(descriptor: int, data: int, size: int, block: int) -> bool:
    seen = set()
    file_size = os.fstat(descriptor).st_size
    while block != _NO_FREE_BLOCK and block < size and data + block + _NEXT.size <= file_size:
        if block in seen:
            return False
        seen.add(block)
        (block,) = _NEXT.unpack(os.pread(descriptor, _NEXT.size, data + block))
    return True  # or the library meets a block outside, and refuses it by itself


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
    whole = len(stored) == dataset.size * _REFERENCE.size
    return whole and texts_are_sound(descriptor, properties.get_userblock(), stored)


def texts_are_sound(descriptor: int, base: int, stored: bytes) -> bool:
    """Whether reading texts ends, and takes no more memory than the file's size.

    Parameters
    ----------
    descriptor : int
        A file open for reading.
    base : int
        Where its addresses begin.
    stored : bytes
        What a dataset or an attribute holds: a reference for each text.
    """
    references = list(_REFERENCE.iter_unpack(stored[: len(stored) // _REFERENCE.size * _REFERENCE.size]))
    file_size = os.fstat(descriptor).st_size
    heaps = {base + heap for _, heap in references if heap}
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
