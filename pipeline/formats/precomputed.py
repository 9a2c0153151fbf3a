"""Neuroglancer's precomputed volumes, local or behind a server, through tensorstore.

Source: github.com/google/neuroglancer, datasource/precomputed/volume.md.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from pipeline.errors import PipelineError, VolumeError
from pipeline.formats.source import check_sizes, fingerprint_of, native_dtype
from pipeline.formats.tensor import TensorSource, kvstore, lengths, numbers, open_store, read_json, stamp_of
from pipeline.formats.zarr_folder import Folder, check_contained

SCHEME = "precomputed://"
DOCUMENT = "info"


def open_source(path: str, level: int = 0) -> TensorSource:
    """Describe one scale of a precomputed volume from its ``info``.

    Parameters
    ----------
    path : str
        ``precomputed://`` and a local folder, or a URL of http, https, gs or s3.
    level : int
        Which scale, 0 the first.

    Raises
    ------
    VolumeError
        If there is no such volume or scale, or it cannot be read.
    """
    place = path.removeprefix(SCHEME).removeprefix("file://").rstrip("/")
    place = _final(place) if place.startswith(("http://", "https://")) else place
    place = place if "://" in place else os.path.abspath(place)
    found = read_json(place, DOCUMENT)
    if found is None:
        raise VolumeError(f"{path}: there is no file 'info'; a precomputed volume has one")
    info, text = found
    scale = _scale(info, path, level)
    key = str(scale.get("key"))
    check_contained(place, key, local="://" not in place)
    channels = lengths([info.get("num_channels")], path, "num_channels")
    shape = lengths(scale.get("size"), path, "sizes")
    blocks = scale.get("chunk_sizes")
    chunks = lengths(blocks[0] if isinstance(blocks, list) and blocks else None, path, "chunk sizes")
    if (len(shape), len(chunks)) != (3, 3):
        raise VolumeError(f"{path}: sizes and chunk sizes should be three numbers each")
    offset = scale.get("voxel_offset", [0, 0, 0])
    if not isinstance(offset, list) or len(offset) != 3 or not all(type(n) is int for n in offset):
        raise VolumeError(f"{path}: the voxel offset should be three whole numbers")
    several = channels != (1,)
    spec = {"driver": "neuroglancer_precomputed", "kvstore": kvstore(place), "scale_index": level}
    dtype = _dtype(info, spec, path)
    check_sizes(path, shape, channels + chunks, dtype)
    stamped, mark = stamp_of(place, DOCUMENT)
    local = "://" not in place and "sharding" not in scale
    if "sharding" in scale and "://" not in place:
        _check_shards(place, key)
    unit = (channels if several else ()) + tuple(min(c, n) for c, n in zip(chunks, shape, strict=True))
    return TensorSource(
        url=path,
        shape=(channels if several else ()) + shape,
        dtype=dtype,
        chunks=unit,
        unit=unit,
        fingerprint=fingerprint_of("precomputed", place, mark, level, text),
        axes="czyx" if several else "zyx",
        spacing=dict(zip("xyz", numbers(scale.get("resolution"), 3), strict=False)),
        units=dict.fromkeys("zyx", "nanometer"),
        stamped=stamped,
        stamp=mark,
        spec=json.dumps(spec),
        origin=((0,) if several else ()) + tuple(offset[::-1]),
        layout="precomputed",
        folder=os.path.join(place, key) if local else None,
    )


def _final(url: str) -> str:
    """Where a server redirects to, which tensorstore would not follow."""
    return Folder.at(url).answered_by(DOCUMENT).removesuffix(f"/{DOCUMENT}")


def _scale(info: dict[str, Any], path: str, level: int) -> dict[str, Any]:
    scales = info.get("scales")
    if not isinstance(scales, list) or not scales:
        raise VolumeError(f"{path}: its info lists no scales; is it a mesh or a skeleton?")
    if not 0 <= level < len(scales):
        raise VolumeError(f"{path}: no level {level}; there are 0 to {len(scales) - 1}")
    if not isinstance(scales[level], dict):
        raise VolumeError(f"{path}: scale {level} of its info is not an object")
    return scales[level]


def _dtype(info: dict[str, Any], spec: dict[str, Any], path: str) -> np.dtype[Any]:
    """Of the volume, once tensorstore agrees that it can read it."""
    try:
        dtype = native_dtype(np.dtype(str(info.get("data_type"))), path)
        open_store(spec)
    except (TypeError, PipelineError) as error:
        raise VolumeError(f"{path}: not a readable precomputed volume: {error}") from error
    return dtype


def _check_shards(place: str, key: str) -> None:
    with os.scandir(os.path.join(place, key)) as entries:
        for entry in entries:
            check_contained(place, f"{key}/{entry.name}", local=True)
