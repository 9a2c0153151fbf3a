"""Neuroglancer's precomputed volumes: the ``info`` of a layer; everything in it is in the order x, y, z.

The format knows three spatial axes and channels. A layer with time is one volume for each point in time.

Source: https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md
"""

from __future__ import annotations

from pipeline.images import SPATIAL
from pipeline.metadata import axes
from pipeline.serving.layer import Layer, LayerLevel
from web.documents.images import Document, specify

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")

# Nanometres to a unit of OME-Zarr; a number without a unit is taken as one of nanometres.
NANOMETERS = {
    "picometer": 1e-3,
    "angstrom": 0.1,
    "nanometer": 1.0,
    "micrometer": 1e3,
    "millimeter": 1e6,
    "centimeter": 1e7,
    "meter": 1e9,
}


def info(layer: Layer) -> Document:
    """The ``info`` of a layer, which must have one of `DTYPES`."""
    return {
        "@type": "neuroglancer_multiscale_volume",
        "type": "segmentation" if layer.reduce == "stride" else "image",
        "data_type": layer.dtype.name,
        "num_channels": layer.n_channels,
        "scales": [scale(layer, level) for level in layer.levels],
    }


def scale(layer: Layer, level: LayerLevel) -> Document:
    """One entry of `scales`; its key is the number of the level."""
    spatial = SPATIAL[::-1]
    factors = {a: along(layer.dims, level.factors, a) for a in spatial}
    return {
        "key": str(level.index),
        "size": [along(layer.dims, level.shape, a) for a in spatial],
        "voxel_offset": [0, 0, 0],
        "resolution": [nanometers(layer, a) * factors[a] for a in spatial],
        "chunk_sizes": [[along(layer.dims, level.chunk, a) for a in spatial]],
        "encoding": "raw",
    }


def nanometers(layer: Layer, axis: str) -> float:
    """Size of a voxel along an axis; 1 where nothing is known."""
    units = {entry["name"]: entry.get("unit") for entry in axes(specify(layer))}
    return layer.spacing.get(axis, 1.0) * NANOMETERS.get(str(units.get(axis)), 1.0)


def along(dims: str, values: tuple[int, ...], axis: str) -> int:
    """The value of an axis, 1 for one that is not there."""
    return values[dims.index(axis)] if axis in dims else 1
