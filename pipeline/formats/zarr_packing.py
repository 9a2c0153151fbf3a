"""How the chunks of a Zarr array are packed: one compressor or several in a row, shards, shards in shards.

What a packed chunk decodes to is looked at layer by layer, in bounds, before Zarr decodes it. A layer is decoded here
only where another one lies inside it, so arrays as nearly everybody stores them are not decoded twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import VolumeError
from pipeline.formats.chunk_sizes import BLOSC_HEADER, CHECKED, SLACK, check_blosc, check_decoded, decode_within

LARGEST_ITEM = 8  # bytes of a value, also in front of filters
LARGEST_INDEX = 1 << 26  # bytes of a shard's index: four million chunks
SHARDS = "sharding_indexed"
V3_ARRAY_CODECS = ("bytes", "endian", "transpose", SHARDS)


@dataclass(frozen=True)
class Packing:
    """How chunks lie in their files.

    Parameters
    ----------
    layers : tuple of mapping
        What they were encoded by, the last first: ``id`` and options, as numcodecs has them.
    most : int
        Bytes that a chunk can have in front of all that.
    shard : Shard, optional
        What such bytes are, if they hold chunks themselves.
    """

    layers: tuple[Mapping[str, Any], ...]
    most: int
    shard: Shard | None = None

    @property
    def matters(self) -> bool:
        """Whether there is anything to decode."""
        return bool(self.layers) or (self.shard is not None and self.shard.inner.matters)

    def check(self, data: bytes) -> None:
        """Refuse what would take more memory than it should when it is decoded.

        Parameters
        ----------
        data : bytes
            A whole chunk as it is stored.

        Raises
        ------
        ValueError
            Or what a decoder raises for data that is damaged.
        """
        for number, layer in enumerate(self.layers):
            within = any(inner["id"] in CHECKED for inner in self.layers[number + 1 :])
            if layer["id"] == "blosc":
                check_blosc(data[:BLOSC_HEADER], len(data))
            if not within and self.shard is None:
                check_decoded(layer["id"], data, self.most, layer)
                return
            data = decode_within(layer, data, self._bound(number))
        if self.shard is not None:
            for chunk in self.shard.chunks(data):
                self.shard.inner.check(chunk)

    def _bound(self, number: int) -> int:
        """Bytes that may be in front of a layer: those that lie further in may have made them some more."""
        return self.most if number == len(self.layers) - 1 else 2 * self.most + SLACK


@dataclass(frozen=True)
class Shard:
    """What lies in a shard, and where (Zarr 3, sharding codec 1.0: offset and length of each, little-endian uint64).

    Parameters
    ----------
    count : int
        Chunks in it.
    index_first : bool
        Whether it begins with its index; else it ends with it.
    index_size : int
        Bytes of the index.
    inner : Packing
        How its chunks are packed.
    """

    count: int
    index_first: bool
    index_size: int
    inner: Packing

    def chunks(self, data: bytes) -> Iterator[bytes]:
        """The stored chunks of a whole shard; those that are said to lie outside are left to Zarr."""
        index = data[: self.index_size] if self.index_first else data[max(len(data) - self.index_size, 0) :]
        if len(index) < self.index_size:
            return
        for offset, length in np.frombuffer(index, "<u8", self.count * 2).reshape(-1, 2).tolist():
            if offset + length <= len(data):
                yield data[offset : offset + length]


def packing_of(document: Mapping[str, Any]) -> Packing:
    """How an array's document says that its chunks are packed; what makes no sense is left to Zarr itself.

    Parameters
    ----------
    document : mapping
        ``.zarray`` or ``zarr.json``.

    Raises
    ------
    VolumeError
        If its shards have more chunks than an index is read for.
    """
    if "codecs" not in document:
        entries = [*(document.get("filters") or []), *([document["compressor"]] if document.get("compressor") else [])]
        most = math.prod(document.get("chunks") or []) * LARGEST_ITEM + SLACK
        return Packing(tuple(entries[::-1]), most)
    grid = document.get("chunk_grid", {}).get("configuration", {})
    return _packing_v3(document["codecs"], grid.get("chunk_shape") or [])


def _packing_v3(codecs: Sequence[Any], shape: Sequence[int]) -> Packing:
    entries = [codec if isinstance(codec, dict) else {"name": codec} for codec in codecs]
    layers = [_layer(entry) for entry in entries if entry.get("name") not in V3_ARRAY_CODECS]
    most = math.prod(shape) * LARGEST_ITEM + SLACK
    shard = next((_shard(entry["configuration"], shape) for entry in entries if entry.get("name") == SHARDS), None)
    if shard is not None:
        most += shard.index_size + shard.count * SLACK
    return Packing(tuple(layers[::-1]), most, shard)


def _shard(options: Mapping[str, Any], shape: Sequence[int]) -> Shard:
    inner = options["chunk_shape"]
    count = math.prod(n // m for n, m in zip(shape, inner, strict=True))
    checked = any(codec.get("name") == "crc32c" for codec in options.get("index_codecs", []))
    size = 16 * count + 4 * checked
    if size > LARGEST_INDEX:
        raise VolumeError(f"shards of {count:,} chunks are not read; {LARGEST_INDEX // 16:,} are the most")
    first = options.get("index_location") == "start"
    return Shard(count, first, size, _packing_v3(options["codecs"], inner))


def _layer(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A codec of Zarr 3 as numcodecs names it."""
    name = str(entry.get("name")).removeprefix("numcodecs.")
    at_end = {"location": "end"} if entry.get("name") == "crc32c" else {}
    return {**(entry.get("configuration") or {}), **at_end, "id": name}
