"""What an output image is: its shape, storage and names; checked when made, no I/O.

Dims are named in OME order, a subset of t, c, z, y, x that holds y and x.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pipeline.errors import StoreError

OME_ORDER = "tczyx"
SPATIAL = "zyx"
DTYPES = ("float32", "uint8", "uint16", "uint32", "uint64")
DTYPES_OF_MEAN = ("float32", "uint8", "uint16", "uint32")
BITS = {"float32": 32, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}

Reduction = Literal["mean", "stride"]
Role = Literal["image", "labels", "scratch"]


@dataclass(frozen=True)
class ImageSpec:
    """One image of an output.

    Parameters
    ----------
    name : str
        Name of its group and of the image: letters, digits, "_" and "-".
    dims : str
        Axes of the array, a subset of "tczyx" in this order, with y and x.
    shape, chunks : tuple of int, in the order of `dims`
        Voxels of the image and of a chunk; chunks are cut to the shape, and all channels lie in one chunk.
    dtype : str
        One of `DTYPES`; a "mean" needs one of `DTYPES_OF_MEAN`.
    spacing : mapping of axis letter to float
        Voxel size (or time step) in `units`; 1 where it is not given.
    units : mapping of axis letter to str
        Units of `spacing`; no unit where it is not given.
    channel_names : tuple of str
        Names of the channels; of an image without c the names of its values 1, 2, ...
    channel_colors : tuple of (red, green, blue)
        Colours 0..255 to go with the names; empty for white.
    reduce : {"mean", "stride"}
        How a coarser level comes from a finer one: block mean, or every second voxel (for labels).
    value_range : (low, high), optional
        Known range of the values: the viewer's window, and `drange` of HDF5.
    origin : mapping of axis letter to float
        Where the first voxel lies in the input volume, in voxels; 0 where it is not given.
    shards : tuple of int, in the order of `dims`, optional
        Voxels of a file that holds several chunks, whole ones along each axis; by default each chunk has its own.
    role : {"image", "labels", "scratch"}
        A picture; labels of the objects in it, which lie in its group ``labels`` and are what a single file holds; or
        something that the run needs and removes at its end.

    Raises
    ------
    StoreError
        If a value does not fit the others; the message names both.
    """

    name: str
    dims: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    spacing: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    channel_colors: tuple[tuple[int, int, int], ...] = ()
    reduce: Reduction = "mean"
    value_range: tuple[float, float] | None = None
    origin: Mapping[str, float] = field(default_factory=dict)
    shards: tuple[int, ...] | None = None
    role: Role = "image"

    def __post_init__(self) -> None:
        self._normalise()
        _check_dims(self)
        _check_sizes(self)
        _check_values(self)
        _check_channels(self)
        _check_axis_values(self)
        chunks = tuple(min(c, n) for c, n in zip(self.chunks, self.shape, strict=True))
        object.__setattr__(self, "chunks", chunks)
        object.__setattr__(self, "shards", pack(self.shards, chunks, self.shape))

    def _normalise(self) -> None:
        """Plain Python values, so that a spec equals its copy read back from JSON."""
        put = object.__setattr__
        put(self, "shape", tuple(int(n) for n in self.shape))
        put(self, "chunks", tuple(int(n) for n in self.chunks))
        put(self, "shards", None if self.shards is None else tuple(int(n) for n in self.shards))
        put(self, "dtype", str(self.dtype))
        put(self, "channel_names", tuple(str(n) for n in self.channel_names))
        put(self, "channel_colors", tuple(tuple(int(v) for v in rgb) for rgb in self.channel_colors))
        put(self, "spacing", {a: float(v) for a, v in self.spacing.items() if a in self.dims})
        put(self, "units", {a: str(v) for a, v in self.units.items() if a in self.dims and v})
        put(self, "origin", {a: float(v) for a, v in self.origin.items() if a in self.dims})
        if self.value_range is not None:
            put(self, "value_range", tuple(float(v) for v in self.value_range))

    @property
    def unit(self) -> tuple[int, ...]:
        """Voxels of a file: of a shard, or a chunk where there are none."""
        return self.shards or self.chunks

    @property
    def itemsize(self) -> int:
        """Bytes of a value."""
        return BITS[self.dtype] // 8

    @property
    def size(self) -> int:
        """Number of values of level 0."""
        return math.prod(self.shape)

    def document(self) -> dict[str, Any]:
        """The specification as JSON values (lists for tuples)."""
        values = {k: _listed(v) for k, v in asdict(self).items()}
        return {k: v for k, v in values.items() if v not in ({}, [], None) and (k, v) != ("role", "image")}


def pack(shards: Sequence[int] | None, chunks: Sequence[int], shape: Sequence[int]) -> tuple[int, ...] | None:
    """Shards cut to an image, still of whole chunks; None if a shard would hold one chunk.

    Examples
    --------
    >>> pack((64, 64), (16, 16), (40, 100)), pack((64, 64), (16, 16), (9, 16))
    ((48, 64), None)
    """
    if shards is None:
        return None
    cut = tuple(-(-min(s, n) // c) * c for s, c, n in zip(shards, chunks, shape, strict=True))
    return None if cut == tuple(chunks) else cut


def _listed(value: Any) -> Any:
    return [_listed(v) for v in value] if isinstance(value, tuple) else value


def _check_dims(spec: ImageSpec) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", spec.name):
        raise StoreError(f"image name {spec.name!r}: letters, digits, '_' and '-' are allowed")
    ordered = "".join(a for a in OME_ORDER if a in spec.dims)
    if spec.dims != ordered or not {"y", "x"} <= set(spec.dims):
        raise StoreError(
            f"image {spec.name}: dims {spec.dims!r} are not a subset of 'tczyx' in this order with y and x"
        )


def _check_sizes(spec: ImageSpec) -> None:
    for what, values in (("shape", spec.shape), ("chunks", spec.chunks)):
        if len(values) != len(spec.dims) or min(values) < 1:
            raise StoreError(f"image {spec.name}: {what} {values} is not one length >= 1 for each of {spec.dims!r}")
    shards = spec.shards or spec.chunks
    if len(shards) != len(spec.dims) or any(s < c or s % c for s, c in zip(shards, spec.chunks, strict=True)):
        raise StoreError(f"image {spec.name}: shards {shards} do not consist of whole chunks {spec.chunks}")


def _check_values(spec: ImageSpec) -> None:
    if spec.reduce not in ("mean", "stride"):
        raise StoreError(f"image {spec.name}: reduce {spec.reduce!r} is neither 'mean' nor 'stride'")
    if spec.role not in ("image", "labels", "scratch"):
        raise StoreError(f"image {spec.name}: role {spec.role!r} is none of 'image', 'labels', 'scratch'")
    allowed = DTYPES_OF_MEAN if spec.reduce == "mean" else DTYPES
    if spec.dtype not in allowed:
        raise StoreError(f"image {spec.name}: values of type {spec.dtype}; allowed here are {', '.join(allowed)}")
    if spec.value_range is not None and not spec.value_range[0] < spec.value_range[1]:
        raise StoreError(f"image {spec.name}: value range {spec.value_range} is not low, high")


def _check_channels(spec: ImageSpec) -> None:
    if spec.channel_colors and len(spec.channel_colors) != len(spec.channel_names):
        raise StoreError(
            f"image {spec.name}: {len(spec.channel_colors)} colours for {len(spec.channel_names)} channel names"
        )
    if "c" not in spec.dims:
        return
    at = spec.dims.index("c")
    if spec.channel_names and len(spec.channel_names) != spec.shape[at]:
        raise StoreError(f"image {spec.name}: {len(spec.channel_names)} names for {spec.shape[at]} channels")
    if spec.chunks[at] < spec.shape[at]:
        raise StoreError(f"image {spec.name}: chunks hold {spec.chunks[at]} of {spec.shape[at]} channels, not all")


def _check_axis_values(spec: ImageSpec) -> None:
    for axis, value in spec.spacing.items():
        if not (math.isfinite(value) and value > 0):
            raise StoreError(f"image {spec.name}: spacing {value} along {axis} is not a number above 0")


def check_names(images: Sequence[ImageSpec]) -> None:
    """Refuse an output without images, or with two of one name.

    Raises
    ------
    StoreError
        Naming them.
    """
    names = [image.name for image in images]
    if not names or len(set(names)) != len(names):
        raise StoreError(f"an output needs images with different names; given: {', '.join(names) or 'none'}")


def final_image(images: Sequence[ImageSpec], name: str) -> ImageSpec:
    """The one image that a single file of this name holds: the labels where there are some.

    Raises
    ------
    StoreError
        If there are several; names them.
    """
    kept = [spec for spec in images if spec.role == "labels"] or [spec for spec in images if spec.role == "image"]
    if len(kept) > 1:
        names = ", ".join(spec.name for spec in kept)
        raise StoreError(f"{name} holds one image, {len(kept)} were asked for ({names}); use .zarr")
    return kept[0]
