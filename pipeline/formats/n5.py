"""N5 datasets, local or behind a server, through tensorstore.

Source: github.com/saalfeldlab/n5, README (file-system specification).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.axes import ORDER
from pipeline.errors import PipelineError, VolumeError
from pipeline.formats.source import check_sizes, fingerprint_of, native_dtype
from pipeline.formats.tensor import TensorSource, kvstore, lengths, numbers, open_store, read_json, stamp_of

DEEPEST = 6  # levels of groups that are searched
MOST_FOLDERS = 1000  # folders that a search looks into
LISTED = 50
DOCUMENT = "attributes.json"
UNIT_NAMES = {"nm": "nanometer", "um": "micrometer", "µm": "micrometer", "mm": "millimeter", "micron": "micrometer"}


def open_source(path: str, dataset: str = "", level: int = 0) -> TensorSource:
    """Describe a dataset of an N5 container.

    Parameters
    ----------
    path : str
        The container, a folder or a URL.
    dataset : str, optional
        The dataset, or a group with the levels s0, s1, …; needed if there are several.
    level : int
        Which level of a pyramid, 0 the finest.

    Raises
    ------
    VolumeError
        If there is no such dataset, or it cannot be read; the message lists what there is.
    """
    place = path.rstrip("/")
    name = dataset.strip("/")
    if ".." in name.split("/"):
        raise VolumeError(f"{path}: {name!r} leads out of the folder", code="unsafe_link")
    if not name and not _is_array(place, "") and not _is_array(place, "s0"):
        name = _only_one(place)
    group = name
    if not _is_array(place, name):
        name = f"{name}/s{level}".lstrip("/")
    elif level:
        raise VolumeError(f"{path}: level {level} of {name or '/'!r}, which is one array without levels")
    if not _is_array(place, name):
        what = (
            f"no level {level} of {group!r}" if _is_array(place, f"{group}/s0".lstrip("/")) else f"no dataset {group!r}"
        )
        raise VolumeError(f"{path}: {what} inside; it holds {_listing(place)}")
    return _describe(place, name, group)


def _describe(place: str, name: str, group: str) -> TensorSource:
    url = f"{place}/{name}".rstrip("/")
    about, text = read_json(place, f"{name}/{DOCUMENT}".lstrip("/")) or ({}, b"")
    above, more = (read_json(place, f"{group}/{DOCUMENT}".lstrip("/")) or ({}, b"")) if group != name else ({}, b"")
    shape = lengths(about.get("dimensions"), url, "dimensions")
    blocks = lengths(about.get("blockSize"), url, "block sizes")
    if len(shape) != len(blocks):
        raise VolumeError(f"{url}: {len(shape)} dimensions, but blocks of {len(blocks)}")
    chunks = tuple(min(c, n) for c, n in zip(blocks, shape, strict=True))
    spec = {"driver": "n5", "kvstore": kvstore(url)}
    try:
        dtype = native_dtype(np.dtype(str(about.get("dataType"))), url)
        check_sizes(url, shape, blocks, dtype)
        open_store(spec)
    except (TypeError, PipelineError) as error:
        raise VolumeError(f"{url}: not a readable N5 dataset: {error}") from error
    compression = about.get("compression")
    blosc = isinstance(compression, dict) and compression.get("type") == "blosc"
    axes, spacing, unit = _distances({**above, **about}, len(shape))
    stamped, mark = stamp_of(url, DOCUMENT)
    return TensorSource(
        url=url,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        unit=chunks,
        fingerprint=fingerprint_of("n5", place, name, mark, text, more),
        axes=axes,
        spacing=spacing,
        units=dict.fromkeys(spacing, unit) if unit else {},
        stamped=stamped,
        stamp=mark,
        spec=json.dumps(spec),
        origin=(0,) * len(shape),
        layout="n5",
        framed=math.prod(blocks) * dtype.itemsize if blosc else 0,
        folder=None if "://" in url else url,
    )


def _distances(about: dict[str, Any], ndim: int) -> tuple[str | None, dict[str, float], str]:
    """Axes slowest first, distances and their unit, from the attributes that Fiji's tools write."""
    resolution: Any = about.get("pixelResolution", about.get("resolution"))
    unit = str(about.get("unit", ""))
    if isinstance(resolution, dict):
        resolution, unit = resolution.get("dimensions"), str(resolution.get("unit", unit))
    distances = numbers(resolution, ndim)
    names = about.get("axes")
    letters = [str(name).lower() for name in names] if isinstance(names, list) else []
    if not letters and distances and ndim == 3:
        letters = ["x", "y", "z"]  # what such resolutions are of
    if len(letters) != ndim or not set(letters) <= set(ORDER) or len(set(letters)) != ndim:
        return None, {}, ""
    factors = numbers(about.get("downsamplingFactors"), ndim) or [1.0] * ndim
    spacing = {a: d * f for a, d, f in zip(letters, distances or [], factors, strict=False)}
    return "".join(reversed(letters)), spacing, UNIT_NAMES.get(unit, unit)


def _is_array(place: str, name: str) -> bool:
    found = read_json(place, f"{name}/{DOCUMENT}".lstrip("/"))
    return found is not None and "dimensions" in found[0]


def _only_one(place: str) -> str:
    names = list(_datasets(place))
    if len(names) != 1:
        raise VolumeError(f"{place}: holds {_listing(place)}; choose one with dataset= or --dataset")
    return names[0]


def _listing(place: str) -> str:
    names = list(_datasets(place))
    more = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    unknown = "what cannot be listed there" if "://" in place else "no dataset"
    return "; ".join(names[:LISTED] + more) or unknown


def _datasets(place: str) -> Iterator[str]:
    """Datasets of a local container, and groups whose levels are s0, s1, …; links are not followed."""
    todo = [("", 0)] if "://" not in place else []
    for looked, (name, depth) in enumerate(todo):
        folder = os.path.join(place, name)
        if _is_array(place, name) or _is_array(place, f"{name}/s0".lstrip("/")):
            yield name
        elif depth < DEEPEST and looked < MOST_FOLDERS:
            inner = sorted(e.name for e in os.scandir(folder) if e.is_dir(follow_symlinks=False))
            todo += [(f"{name}/{n}".lstrip("/"), depth + 1) for n in inner[:MOST_FOLDERS]]
