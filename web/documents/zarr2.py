"""OME-Zarr 0.4 on zarr v2: ``.zgroup``, ``.zattrs`` and ``.zarray``, and all of them at once as ``.zmetadata``.

Source: https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html, https://ngff.openmicroscopy.org/0.4/
"""

from __future__ import annotations

from pipeline.chunks import ZSTD_LEVEL
from pipeline.serving.layer import Layer, LayerLevel
from web.documents.images import Document, group_attributes, level_attributes


def group() -> Document:
    """The ``.zgroup`` of every layer."""
    return {"zarr_format": 2}


def attributes(layer: Layer) -> Document:
    """The ``.zattrs`` of a layer."""
    return group_attributes(layer, "0.4")


def array(layer: Layer, level: LayerLevel) -> Document:
    """The ``.zarray`` of one level."""
    return {
        "zarr_format": 2,
        "shape": list(level.shape),
        "chunks": list(level.chunk),
        "dtype": layer.dtype.newbyteorder("<").str,
        "compressor": {"id": "zstd", "level": ZSTD_LEVEL},
        "fill_value": False if layer.dtype.kind == "b" else 0,
        "order": "C",
        "filters": None,
        "dimension_separator": "/",
    }


def array_attributes(layer: Layer, level: LayerLevel) -> Document:
    """The ``.zattrs`` of one level; xarray finds names of dimensions there."""
    return {"_ARRAY_DIMENSIONS": list(layer.dims), **level_attributes(level)}


def consolidated(layer: Layer) -> Document:
    """The ``.zmetadata``: all documents in one, since a web server lists nothing."""
    found: Document = {".zgroup": group(), ".zattrs": attributes(layer)}
    for level in layer.levels:
        found[f"{level.index}/.zarray"] = array(layer, level)
        found[f"{level.index}/.zattrs"] = array_attributes(layer, level)
    return {"zarr_consolidated_format": 1, "metadata": found}
