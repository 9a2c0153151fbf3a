"""A served layer in the words of the images that runs write, so that both carry documents of the same making."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.images import DTYPES, DTYPES_OF_MEAN, ImageSpec
from pipeline.metadata import OWN_KEY, OmeVersion, image_attributes, transformations
from pipeline.serving.layer import Layer, LayerLevel

Document = dict[str, Any]


def specify(layer: Layer) -> ImageSpec:
    """The image that a layer is, for `pipeline.metadata`.

    Its `dtype` decides nothing but the window of values, which is given; raw data may have types that no run writes.
    """
    dtype = layer.dtype.name
    return ImageSpec(
        name=layer.name,
        dims=layer.dims,
        shape=layer.levels[0].shape,
        chunks=layer.levels[0].chunk,
        dtype=dtype if dtype in (DTYPES if layer.reduce == "stride" else DTYPES_OF_MEAN) else "float32",
        spacing=layer.spacing,
        units=layer.units,
        channel_names=layer.channel_names,
        channel_colors=layer.channel_colors,
        reduce=layer.reduce,
        value_range=value_range(layer.dtype) if layer.name == "raw" else layer.value_range,
    )


def value_range(dtype: np.dtype[Any]) -> tuple[float, float] | None:
    """All values that an integer type has; None for others.

    Examples
    --------
    >>> value_range(np.dtype("int8")), value_range(np.dtype("float32"))
    ((-128.0, 127.0), None)
    """
    if dtype.kind == "b":
        return 0.0, 1.0
    if dtype.kind not in "iu":
        return None
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


def group_attributes(layer: Layer, version: OmeVersion) -> Document:
    """Attributes of the group of a layer: OME-Zarr's, and ours with digest, provenance and approximate levels."""
    spec = specify(layer)
    document = image_attributes(spec, version, provenance(layer))
    multiscales = document["ome"]["multiscales"] if version == "0.5" else document["multiscales"]
    multiscales[0]["datasets"] = [
        {"path": str(level.index), "coordinateTransformations": transformations(spec, level.geometry)}
        for level in layer.levels
    ]
    return document


def level_attributes(level: LayerLevel) -> Document:
    """Attributes of the array of one level: a word where its values are predicted from coarser raw data."""
    return {} if level.exact else {OWN_KEY: {"approximate": True}}


def provenance(layer: Layer) -> Document:
    """What a layer was made from and by; names, never paths."""
    found: Document = {
        "digest": layer.digest,
        "layer": layer.name,
        "volume": layer.volume.name,
        "approximate_levels": [level.index for level in layer.levels if not level.exact],
    }
    if layer.project is not None:
        found["project"] = {
            "name": layer.project_name,
            "digest": layer.project.digest,
            "workflow": layer.project.workflow,
            "ilastik": layer.project.version,
        }
    return found
