"""The dialects of a virtual volume: which key is a document, which one a chunk, and what bytes a chunk becomes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt

from pipeline.serving.contrast import Contrast
from pipeline.serving.layer import Layer
from web import tiles
from web.chunk_bytes import precomputed_bytes, zarr_bytes
from web.chunk_keys import Chunk, find_level, parse_numbers, precomputed_chunk, tile_chunk, zarr_chunk
from web.documents import precomputed, zarr2, zarr3
from web.documents.images import Document
from web.errors import HttpError

Array = npt.NDArray[Any]


class Dialect(Protocol):
    """How one kind of reader sees a layer."""

    content_type: str

    def document(self, layer: Layer, key: str) -> Document | None:
        """The JSON document of a key; the empty key means the first one that a reader asks for."""

    def chunk(self, layer: Layer, key: str) -> Chunk | None:
        """The chunk of a key, None for a key that is none, or outside the grid."""

    def encode(self, layer: Layer, values: Array, chunk: Chunk) -> bytes:
        """The body of a chunk."""

    def size(self, layer: Layer, chunk: Chunk) -> int | None:
        """Length of the body, where it is known before the chunk is."""

    def is_gzipped(self, layer: Layer) -> bool:
        """Whether chunks of a layer gain by Content-Encoding."""


class Zarr3:
    """OME-Zarr 0.5."""

    content_type = "application/octet-stream"

    def document(self, layer: Layer, key: str) -> Document | None:
        """``zarr.json`` of the group and of each level."""
        if key in ("", "zarr.json"):
            return zarr3.group(layer)
        number, _, name = key.partition("/")
        level = find_level(layer, number)
        return zarr3.array(layer, level) if level is not None and name == "zarr.json" else None

    def chunk(self, layer: Layer, key: str) -> Chunk | None:
        """``LEVEL/c/INDEX...``"""
        number, _, rest = key.partition("/c/")
        level = find_level(layer, number)
        return None if level is None else zarr_chunk(level, rest)

    def encode(self, layer: Layer, values: Array, chunk: Chunk) -> bytes:
        """Padded, with zstd."""
        return zarr_bytes(values, chunk.shape)

    def size(self, layer: Layer, chunk: Chunk) -> int | None:
        """Unknown: it is compressed."""
        return None

    def is_gzipped(self, layer: Layer) -> bool:
        """It is compressed already."""
        return False


class Zarr2(Zarr3):
    """OME-Zarr 0.4."""

    def document(self, layer: Layer, key: str) -> Document | None:
        """``.zgroup``, ``.zattrs`` and ``.zarray``; ``.zmetadata`` holds them all."""
        whole = zarr2.consolidated(layer)
        documents = {**whole["metadata"], ".zmetadata": whole, "": whole["metadata"][".zattrs"]}
        return documents.get(key)

    def chunk(self, layer: Layer, key: str) -> Chunk | None:
        """``LEVEL/INDEX...``"""
        number, _, rest = key.partition("/")
        level = find_level(layer, number)
        return None if level is None else zarr_chunk(level, rest)


class Precomputed:
    """Neuroglancer's own; a layer with time is a volume for each point of it, below ``t0``, ``t1``, ..."""

    content_type = "application/octet-stream"

    def document(self, layer: Layer, key: str) -> Document | None:
        """``info``"""
        if layer.dtype.name not in precomputed.DTYPES:
            raise HttpError(
                f"{layer.name} of {layer.volume.name} has values of type {layer.dtype}, which precomputed volumes "
                "cannot hold; read it as zarr.",
                409,
                given=layer.dtype.name,
                allowed=", ".join(precomputed.DTYPES),
            )
        _, rest = self._split_time(layer, key)
        return precomputed.info(layer) if rest in ("", "info") else None

    def chunk(self, layer: Layer, key: str) -> Chunk | None:
        """``LEVEL/x0-x1_y0-y1_z0-z1``"""
        time, rest = self._split_time(layer, key)
        number, _, span = rest.partition("/")
        level = find_level(layer, number)
        return None if level is None else precomputed_chunk(layer, level, span, time)

    def encode(self, layer: Layer, values: Array, chunk: Chunk) -> bytes:
        """Clipped, as it is."""
        return precomputed_bytes(values)

    def size(self, layer: Layer, chunk: Chunk) -> int | None:
        """That of its values."""
        return math.prod(chunk.shape) * layer.dtype.itemsize

    def is_gzipped(self, layer: Layer) -> bool:
        """Numbers of classes and objects are; see `web.chunk_bytes`."""
        return layer.reduce == "stride"

    def _split_time(self, layer: Layer, key: str) -> tuple[int, str]:
        """The point in time that a key such as ``t3/info`` begins with, and the rest; 0 where a layer has no time."""
        if "t" not in layer.dims:
            return 0, key
        first, _, rest = key.partition("/")
        number = parse_numbers(first[1:]) if first.startswith("t") else None
        length = layer.levels[0].shape[layer.dims.index("t")]
        if number is None or len(number) != 1 or number[0] >= length:
            raise HttpError(
                f"{layer.name} of {layer.volume.name} has time, which precomputed volumes have not: there is one for "
                "each point in time.",
                404,
                given=key[:200],
                allowed=f"t0/info to t{length - 1}/info",
            )
        return number[0], rest


class Tiles:
    """Pictures for a page.

    Parameters
    ----------
    contrast : Contrast
        What is black and white in raw data.
    """

    content_type = "image/png"

    def __init__(self, contrast: Contrast) -> None:
        self._contrast = contrast

    def document(self, layer: Layer, key: str) -> Document | None:
        """``tiles.json``"""
        return tiles.describe(layer, self._contrast.window(layer)) if key in ("", "tiles.json") else None

    def chunk(self, layer: Layer, key: str) -> Chunk | None:
        """``LEVEL/INDEX....png``"""
        number, _, rest = key.partition("/")
        level = find_level(layer, number)
        if level is None or not rest.endswith(".png"):
            return None
        return tile_chunk(layer, level, rest.removesuffix(".png"), tiles.SIDE)

    def encode(self, layer: Layer, values: Array, chunk: Chunk) -> bytes:
        """One channel of one plane."""
        channel = chunk.start[layer.dims.index("c")] if "c" in layer.dims else 0
        return tiles.paint(layer, values.reshape(values.shape[-2:]), channel, self._contrast.window(layer))

    def size(self, layer: Layer, chunk: Chunk) -> int | None:
        """Unknown."""
        return None

    def is_gzipped(self, layer: Layer) -> bool:
        """PNG is compressed already."""
        return False


def make_dialects(contrast: Contrast) -> Mapping[str, Dialect]:
    """All dialects by the word that a URL names them by."""
    return {"zarr": Zarr3(), "zarr2": Zarr2(), "precomputed": Precomputed(), "tiles": Tiles(contrast)}
