"""A look at the objects of an HDF5 file before the library meets them.

Damaged headers and trees make libhdf5 crash, hang or take all memory, so the steps that it would take are taken here
first, within bounds. Only what belongs to the objects that are wanted is looked at, so a large file costs no more.

Met with HDF5 2.0: a group's tree that holds itself ends the process, free blocks of its names in a circle take all
memory, a B-tree of version 2 with records of no size divides by zero, and one with more records than its nodes have
room for ends the process, too. Cycles among the trees of chunks are noticed by the library.

Source: HDF5 File Format Specification 3.0, III.A to III.E and IV.A.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import h5py

from pipeline.hdf5_heap import check_local_heap, find_superblock, texts_are_sound

_UNDEFINED = 2**64 - 1
_MOST_HEADER_BYTES = 1 << 24
_MOST_NAMES = 1 << 22
"""Parts of one group's names: what more would need is no volume."""

_MOST_NODES = 10_000
"""Nodes of a tree of version 2 that are looked at: 20 MiB as they are written."""

_CONTINUATION, _LAYOUT, _LINK_INFO, _ATTRIBUTE, _ATTRIBUTE_INFO, _SYMBOL_TABLE = 0x10, 0x08, 0x02, 0x0C, 0x15, 0x11
_SHARED = 2  # flag of a message whose content lies elsewhere
_PAIR = struct.Struct("<QQ")
_GROUP_NODE = struct.Struct("<4xBBH16x")
_TREE2 = struct.Struct("<6xIHH2xQHQ")
_HEAP2 = struct.Struct("<22xQ80xHQQH2x8xH")
_NODE2_OVERHEAD = 10  # signature, version, type, checksum
_BTREE2_CHUNKS = 5


def object_address(node: h5py.HLObject) -> int:
    """Where the header of a group or dataset lies; h5py's `get_info` would add up the whole index of its chunks.

    Parameters
    ----------
    node : h5py.Group or h5py.Dataset
    """
    address: int = h5py.h5g.get_objinfo(node.id, b".").objno[0]
    return address


class RawObjects:
    """The objects of an HDF5 file, by the addresses that the library gives.

    All methods raise ValueError where the library would run into trouble. What it refuses by itself is left to it.

    Parameters
    ----------
    descriptor : int
        The file, open for reading.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._base = find_superblock(descriptor)

    def check_root(self) -> None:
        """Check the group that the library looks into when it opens the file."""
        head = self._read(0, 100)
        version = head[8] if len(head) == 100 else 255
        if version > 3:
            return
        if (head[13], head[14]) != (8, 8) if version < 2 else (head[9], head[10]) != (8, 8):
            raise ValueError("its addresses are not of 8 bytes, as nobody writes them")
        if version >= 2:
            self.check(int.from_bytes(head[36:44], "little"))
            return
        entry = 24 + 4 * version + 32
        header, cached = struct.unpack_from("<QI", head, entry + 8)
        self.check(header)
        if cached == 1:
            self._check_names(*_PAIR.unpack_from(head, entry + 24))

    def check(self, address: int) -> None:
        """Check what is found through the header of a group or dataset: names, links, attributes, chunks.

        Parameters
        ----------
        address : int
            Of the object's header.

        Raises
        ------
        ValueError
        """
        for kind, body in self._messages(address):
            if kind == _SYMBOL_TABLE and len(body) >= _PAIR.size:
                self._check_names(*_PAIR.unpack_from(body))
            elif kind in (_LINK_INFO, _ATTRIBUTE_INFO):
                for place in _places_of_names(body, 8 if kind == _LINK_INFO else 2):
                    self._check_heap2(place)
                    self._check_tree2(place)
            elif kind == _LAYOUT:
                self._check_tree2(_tree_of_chunks(body))

    def texts_are_sound(self, address: int, attribute: str) -> bool | None:
        """Whether the texts of an attribute can be read; None if it is not kept in the object's header.

        Parameters
        ----------
        address : int
            Of the object's header.
        attribute : str
            Name of an attribute that holds texts of any length.
        """
        for kind, body in self._messages(address):
            if kind == _ATTRIBUTE:
                name, data = _split_attribute(body)
                if name == attribute.encode():
                    return texts_are_sound(self._descriptor, self._base, data)
        return None

    def _messages(self, address: int) -> Iterator[tuple[int, bytes]]:
        """Kind and content of each message of a header of either version."""
        head = self._read(address, 32)
        new = head[:4] == b"OHDR"
        if len(head) < 32:
            return
        if new:
            at = 6 + 16 * (head[5] >> 5 & 1) + 4 * (head[5] >> 4 & 1)
            width = 1 << (head[5] & 3)
            blocks = [(address + at + width, int.from_bytes(head[at : at + width], "little"))]
            sizes, overhead = struct.Struct("<BHB"), 4 + 2 * (head[5] >> 2 & 1)
        else:
            blocks = [(address + 16, int.from_bytes(head[8:12], "little"))]
            sizes, overhead = struct.Struct("<HHB"), 8
        left = _MOST_HEADER_BYTES
        for start, size in blocks:
            left -= max(size, 1)
            if left < 0:
                raise ValueError("a header goes on for ever")
            block, at = self._read(start, size), 0
            while at + overhead <= len(block):
                kind, length, flags = sizes.unpack_from(block, at)
                body = block[at + overhead : at + overhead + length]
                at += overhead + length
                if kind == _CONTINUATION and len(body) >= _PAIR.size:
                    place, room = _PAIR.unpack_from(body)
                    blocks.append((place + 4 * new, max(room - 8 * new, 0)))
                elif not flags & _SHARED:
                    yield kind, body

    def _check_names(self, tree: int, heap: int) -> None:
        check_local_heap(self._descriptor, self._base, heap)
        seen, todo = {tree}, [(tree, -1)]
        while todo:
            address, expected = todo.pop()
            head = self._read(address, _GROUP_NODE.size)
            if len(head) < _GROUP_NODE.size or head[:4] != b"TREE":
                continue
            kind, level, entries = _GROUP_NODE.unpack(head)
            if kind or expected not in (-1, level) or len(seen) + entries > _MOST_NAMES:
                raise ValueError("the tree of a group's names is damaged")
            pairs = self._read(address + _GROUP_NODE.size, _PAIR.size * entries)
            for _, child in _PAIR.iter_unpack(pairs[: len(pairs) // _PAIR.size * _PAIR.size]):
                if child in seen:
                    raise ValueError("the tree of a group's names holds itself")
                seen.add(child)
                if level:
                    todo.append((child, level - 1))

    def _check_heap2(self, address: int) -> None:
        """A fractal heap: its blocks double from a size to another, in rows of some."""
        head = self._read(address, _HEAP2.size)
        if len(head) < _HEAP2.size or head[:4] != b"FRHP":
            return
        objects, width, first, largest, bits, rows = _HEAP2.unpack(head)
        powers = all(n and n & (n - 1) == 0 for n in (width, first, largest))
        if not powers or first > largest or not largest.bit_length() <= bits <= 64 or rows > 64:
            raise ValueError("a heap's blocks are of impossible sizes")
        self._check_tree2(objects)

    def _check_tree2(self, address: int) -> None:
        """A B-tree of version 2: no node has more records than it has room for, and the tree has as many as they."""
        head = self._read(address, _TREE2.size)
        if len(head) < _TREE2.size or head[:4] != b"BTHD":
            return
        node_size, record, depth, root, records, total = _TREE2.unpack(head)
        room = _room(node_size, record, depth)
        todo, looked, found = [(root, records, depth)], 0, 0
        while todo and looked < _MOST_NODES:
            node, records, level = todo.pop()
            looked += 1
            found += records
            if records > room[level][0]:
                raise ValueError("a tree says to hold more than it has room for")
            if level:
                pointers = self._read(node + 6 + records * record, (records + 1) * room[level][1])
                step, width = room[level][1], room[0][1]
                for at in range(0, len(pointers) - step + 1, step):
                    child = int.from_bytes(pointers[at : at + 8], "little")
                    todo.append((child, int.from_bytes(pointers[at + 8 : at + 8 + width], "little"), level - 1))
        if not todo and found != total:
            raise ValueError("a tree says to hold more or less than its nodes do")

    def _read(self, address: int, size: int) -> bytes:
        if address > 1 << 62:
            return b""
        return os.pread(self._descriptor, size, self._base + address)


def _room(node_size: int, record: int, depth: int) -> list[tuple[int, int]]:
    """For each level of a B-tree of version 2, leaves first: most records of a node, and bytes of a pointer in it.

    For leaves the second is the bytes of a number of records, which pointers have in them.
    """
    if not record or depth > 64 or node_size <= _NODE2_OVERHEAD + record:
        raise ValueError("a tree has records of no size, or no room for any")
    most = (node_size - _NODE2_OVERHEAD) // record
    width = -(-most.bit_length() // 8)
    found, below = [(most, width)], most
    for level in range(1, depth + 1):
        pointer = 8 + width + (-(-below.bit_length() // 8) if level > 1 else 0)
        most = (node_size - _NODE2_OVERHEAD - pointer) // (record + pointer)
        if most <= 0:
            raise ValueError("a tree has no room for pointers")
        below = (most + 1) * below + most
        found.append((most, pointer))
    return found


def _places_of_names(body: bytes, counter: int) -> Iterator[int]:
    """Addresses in a message about links or attributes; its counter has so many bytes, if it is there."""
    at = 2 + counter * (body[1] & 1) if len(body) > 1 else 0
    for start in (at, at + 8, at + 16)[: 2 + (body[1] >> 1 & 1) if at else 0]:
        yield int.from_bytes(body[start : start + 8], "little") if start + 8 <= len(body) else _UNDEFINED


def _tree_of_chunks(body: bytes) -> int:
    """Address of the tree of version 2 that a message about storage names, if it names one."""
    if len(body) < 6 or body[0] not in (4, 5) or body[1] != 2:  # chunks, since the layout's fourth version
        return _UNDEFINED
    at = 5 + body[3] * body[4]
    if len(body) < at + 15 or body[at] != _BTREE2_CHUNKS:
        return _UNDEFINED
    return int.from_bytes(body[at + 7 : at + 15], "little")


def _split_attribute(body: bytes) -> tuple[bytes, bytes]:
    """Name and stored values of an attribute, from its message."""
    if len(body) < 9:
        return b"", b""
    version, _, name, kind, space = struct.unpack_from("<BBHHH", body)
    at = 8 + (version == 3)
    rounded = [-(-size // 8) * 8 if version == 1 else size for size in (name, kind, space)]
    return body[at : at + name].rstrip(b"\0"), body[at + sum(rounded) :]
