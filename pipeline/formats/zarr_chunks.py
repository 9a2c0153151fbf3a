"""Chunks of a local Zarr array, read and decoded in the thread that asks.

Zarr itself sends each chunk through an event loop and a pool of threads: for chunks of 64^3 bytes, 0.63 ms of one core
a chunk, where reading, decoding and copying take 0.18. Arrays whose chunks are stored in another way than a plain one
(shards, filters, several codecs, Fortran order) are left to Zarr.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.metadata.v2 import ArrayV2Metadata
from zarr.registry import get_numcodec

from pipeline.formats.chunk_grid import read_chunks
from pipeline.formats.chunk_sizes import BLOSC_HEADER, SLACK, check_blosc, decode_chunk
from pipeline.formats.zarr_folder import check_contained

COMPRESSORS = ("zstd", "blosc", "gzip", "zlib", "lz4")
ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
BYTE_ORDERS: dict[str | None, Literal["<", ">", "="]] = {"little": "<", "big": ">", None: "="}


@dataclass(frozen=True)
class ChunkReader:
    """Reads boxes of one array; made by `chunk_reader`.

    Parameters
    ----------
    root : str
        The store's folder.
    array : zarr.Array
    dtype : dtype
        Of the stored values, with their byte order.
    codec : numcodecs codec, optional
        What chunks are compressed by; None for plain values.
    """

    root: str
    array: zarr.Array[Any]
    dtype: np.dtype[Any]
    codec: Any

    def read(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        """The voxels of a non-empty box inside the array, in the machine's byte order; may raise anything."""
        return next(self.read_each([box]))

    def read_each(self, boxes: Iterable[tuple[slice, ...]]) -> Iterator[npt.NDArray[Any]]:
        """As `read`, for several boxes; each folder is looked at once for all of them."""
        folders = _Folders(self.root)
        dtype, chunks, fill = self.dtype.newbyteorder("="), self.array.chunks, self.array.fill_value
        for box in boxes:
            yield read_chunks(box, chunks, dtype, fill, lambda i: self._decode(i, folders))

    def _decode(self, index: Sequence[int], folders: _Folders) -> npt.NDArray[Any] | None:
        """One chunk; None if it has no file."""
        key = f"{self.array.path}/{self.array.metadata.encode_chunk_key(tuple(index))}".lstrip("/")
        size = math.prod(self.array.chunks) * self.dtype.itemsize
        try:
            data: Any = folders.read(key, size if self.codec is None else 2 * size + SLACK)
        except ABSENT:
            return None
        if self.codec is not None:
            if self.codec.codec_id == "blosc":
                check_blosc(data[:BLOSC_HEADER], len(data))
            data = decode_chunk(self.codec, data, size)
        return np.frombuffer(data, self.dtype).reshape(self.array.chunks)


class _Folders:
    """Reads files of a store; looks once at each folder whether it leads out, and at each file whether it is a link."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._known: set[str] = set()

    def read(self, key: str, most: int) -> bytes:
        """The bytes of a file of at most `most`."""
        folder, _, _ = key.rpartition("/")
        path = f"{self._root}/{key}"
        if folder and folder not in self._known:
            check_contained(self._root, folder, local=True)
            self._known.add(folder)
        if os.path.islink(path):
            check_contained(self._root, key, local=True)
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise ValueError(f"its file has {size:,} bytes; at most {most:,} can belong to it")
            return file.read()


def chunk_reader(root: str, array: zarr.Array[Any]) -> ChunkReader | None:
    """A reader for an array in a local folder; None where Zarr has to read it."""
    stored = _stored_v2(array) if isinstance(array.metadata, ArrayV2Metadata) else _stored_v3(array)
    return None if stored is None or array.fill_value is None else ChunkReader(root, array, *stored)


def _stored_v2(array: zarr.Array[Any]) -> tuple[np.dtype[Any], Any] | None:
    metadata = array.metadata
    assert isinstance(metadata, ArrayV2Metadata)
    codec: Any = metadata.compressor
    if metadata.filters or metadata.order != "C" or (codec is not None and codec.codec_id not in COMPRESSORS):
        return None
    return metadata.dtype.to_native_dtype(), codec


def _stored_v3(array: zarr.Array[Any]) -> tuple[np.dtype[Any], Any] | None:
    document: Mapping[str, Any] = array.metadata.to_dict()
    names = [codec["name"] for codec in document["codecs"]]
    if names[0] != "bytes" or len(names) > 2 or document["chunk_grid"]["name"] != "regular":
        return None
    if not set(names[1:]) <= set(COMPRESSORS):
        return None
    order = BYTE_ORDERS[document["codecs"][0].get("configuration", {}).get("endian")]
    named: Any = [{"id": name} for name in names[1:]]
    return array.dtype.newbyteorder(order), get_numcodec(named[0]) if named else None
