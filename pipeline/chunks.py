"""The zarr arrays of an output: made, opened once in each process, and their chunk files looked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from pipeline.encoding import ZSTD_LEVEL
from pipeline.images import ImageSpec
from pipeline.pyramid import Level, Span, chunk_boxes

if TYPE_CHECKING:
    from pipeline.output import Output

ZarrFormat = Literal[2, 3]
DOCUMENTS: dict[ZarrFormat, str] = {2: ".zarray", 3: "zarr.json"}


def ensure_array(output: Output, path: str, spec: ImageSpec, level: Level, zarr_format: ZarrFormat) -> None:
    """Make the array of one level in a partial output, unless its document is there.

    Parameters
    ----------
    output : Output
    path : str
        Name of the array in it; groups on the way are made, too.
    spec, level : ImageSpec, Level
        Type and names, and the shape and chunks.
    zarr_format : {2, 3}
        zarr format; chunk keys are paths in both.
    """
    if output.has(f"{path}/{DOCUMENTS[zarr_format]}"):
        return
    special: dict[str, Any] = {
        "compressors": ZstdCodec(level=ZSTD_LEVEL),
        "chunk_key_encoding": {"name": "default", "separator": "/"},
        "dimension_names": list(spec.dims),
        "shards": level.shards,
    }
    if zarr_format == 2:
        special = {
            "compressors": {"id": "zstd", "level": ZSTD_LEVEL},
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
            "attributes": {"_ARRAY_DIMENSIONS": list(spec.dims)},  # how xarray finds names in zarr v2
        }
    zarr.create_array(
        output.zarr_store(),
        name=path,
        shape=level.shape,
        chunks=level.chunks,
        dtype=spec.dtype,
        fill_value=0,
        zarr_format=zarr_format,
        **special,
    )


@lru_cache(maxsize=256)
def open_array(output: Output, path: str, zarr_format: ZarrFormat, token: str) -> zarr.Array[Any]:
    """Open an array for reading and writing; kept open in this process.

    `token` is only part of the key: it keeps an array of an earlier output at this place from being taken.
    """
    array = zarr.open_array(output.zarr_store(), path=path, mode="r+", zarr_format=zarr_format)
    # Chunks of zeros are written like all others: that a file exists is what says that a chunk is done.
    return array.with_config({"write_empty_chunks": True})


def missing_chunks(output: Output, array: zarr.Array[Any], start: Sequence[int], stop: Sequence[int]) -> Iterator[str]:
    """Keys of the files (shards or chunks) touched by the box ``start .. stop`` of an array that do not exist."""
    unit = array.shards or array.chunks
    first = [a // n for a, n in zip(start, unit, strict=True)]
    counts = [-(-b // n) - a for a, b, n in zip(first, stop, unit, strict=True)]
    indices = (tuple(a + i for a, i in zip(first, index, strict=True)) for index in np.ndindex(*counts))
    return output.missing(array.path, (array.metadata.encode_chunk_key(index) for index in indices))


def missing_boxes(output: Output, array: zarr.Array[Any]) -> Iterator[Span]:
    """(start, stop) of each file (shard or chunk) of an array that does not exist."""
    unit = array.shards or array.chunks
    missing = set(missing_chunks(output, array, (0,) * len(unit), array.shape))
    for start, stop in chunk_boxes(array.shape, unit):
        if array.metadata.encode_chunk_key(tuple(a // n for a, n in zip(start, unit, strict=True))) in missing:
            yield start, stop


def is_aligned(spec: ImageSpec, start: Sequence[int], stop: Sequence[int]) -> bool:
    """Whether a box lies inside an image and consists of whole files, the last cut at the image's end."""
    edges = zip(start, stop, spec.unit, spec.shape, strict=True)
    return all(0 <= a < b <= n and a % c == 0 and (b % c == 0 or b == n) for a, b, c, n in edges)
