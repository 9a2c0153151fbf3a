"""OME-Zarr 0.5 on zarr v3: ``zarr.json`` of the group of a layer and of the array of each level.

Source: https://zarr-specs.readthedocs.io/en/latest/v3/core/v3.0.html, https://ngff.openmicroscopy.org/0.5/
"""

from __future__ import annotations

from pipeline.chunks import ZSTD_LEVEL
from pipeline.serving.layer import Layer, LayerLevel
from web.documents.images import Document, group_attributes, level_attributes


def group(layer: Layer) -> Document:
    """The group that a layer is."""
    return {"zarr_format": 3, "node_type": "group", "attributes": group_attributes(layer, "0.5")}


def array(layer: Layer, level: LayerLevel) -> Document:
    """The array of one level."""
    order = {"configuration": {"endian": "little"}} if layer.dtype.itemsize > 1 else {}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(level.shape),
        "data_type": layer.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(level.chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": False if layer.dtype.kind == "b" else 0,
        "codecs": [
            {"name": "bytes", **order},
            {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}},
        ],
        "attributes": level_attributes(level),
        "dimension_names": list(layer.dims),
    }
