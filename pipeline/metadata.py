"""OME-Zarr documents of an output: 0.5 (in zarr v3) and 0.4 (in zarr v2); no I/O.

Coordinates follow NGFF: a voxel's coordinate is that of its centre. Voxel i of a level that is a block mean of f
voxels is centred ``(f - 1) / 2`` voxels further than the first of them, hence the translation of each level; a
level of every f-th voxel keeps the place of those voxels, so its translation is that of level 0.

Source: NGFF 0.4 and 0.5, https://ngff.openmicroscopy.org/0.5/
"""

from __future__ import annotations

import colorsys
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pipeline.images import ImageSpec
from pipeline.pyramid import Level, levels

OmeVersion = Literal["0.4", "0.5"]
Document = dict[str, Any]

ZARR_FORMATS: dict[str, Literal[2, 3]] = {"0.4": 2, "0.5": 3}
OWN_KEY = "voxelforest"

COLORED_LABELS = 1000
GOLDEN = 0.6180339887498949  # turns of the colour wheel from one label to the next

_AXIS_TYPES = {"t": "time", "c": "channel"}
_UNIT_NAMES = {
    "nm": "nanometer", "um": "micrometer", "µm": "micrometer", "μm": "micrometer", "micron": "micrometer",
    "mm": "millimeter", "m": "meter", "s": "second", "sec": "second", "ms": "millisecond", "min": "minute", "h": "hour",
}  # fmt: skip
_INTEGER_LIMITS = {"uint8": 2**8 - 1, "uint16": 2**16 - 1, "uint32": 2**32 - 1, "uint64": 2**64 - 1}
_VIGRA_FLAGS = {"t": 8, "c": 1}
_VIGRA_SPACE = 2


def axes(spec: ImageSpec) -> list[Document]:
    """The `axes` of a multiscale: name, type and, where known, unit."""
    found = []
    for name in spec.dims:
        axis = {"name": name, "type": _AXIS_TYPES.get(name, "space")}
        if name in spec.units and name != "c":
            axis["unit"] = _UNIT_NAMES.get(spec.units[name], spec.units[name])
        found.append(axis)
    return found


def transformations(spec: ImageSpec, level: Level) -> list[Document]:
    """Scale and translation from voxels of a level to physical coordinates, in the order of `spec.dims`."""
    spacing = [spec.spacing.get(a, 1.0) for a in spec.dims]
    shifts = [(f - 1) / 2 if spec.reduce == "mean" else 0.0 for f in level.factors]
    first = [spec.origin.get(a, 0.0) + shift for a, shift in zip(spec.dims, shifts, strict=True)]
    return [
        {"type": "scale", "scale": [s * f for s, f in zip(spacing, level.factors, strict=True)]},
        {"type": "translation", "translation": [s * v for s, v in zip(spacing, first, strict=True)]},
    ]


def multiscale(spec: ImageSpec) -> Document:
    """One entry of `multiscales`; datasets are named by their level: "0", "1", ..."""
    return {
        "name": spec.name,
        "axes": axes(spec),
        "datasets": [
            {"path": str(k), "coordinateTransformations": transformations(spec, level)}
            for k, level in enumerate(levels(spec))
        ],
        "type": {"mean": "block mean", "stride": "every second voxel"}[spec.reduce],
    }


def window(spec: ImageSpec) -> tuple[float, float]:
    """Range of values to show: the known one, else that of the type (0..1 for floats)."""
    if spec.value_range is not None:
        return spec.value_range
    if "c" not in spec.dims and spec.channel_names:
        return 0.0, float(len(spec.channel_names))
    return 0.0, float(_INTEGER_LIMITS.get(spec.dtype, 1))


def omero(spec: ImageSpec) -> Document:
    """Rendering settings: a channel's label, colour and window; an image without c is one channel."""
    if "c" in spec.dims:
        count = spec.shape[spec.dims.index("c")]
        labels = spec.channel_names or tuple(f"{spec.name} {i}" for i in range(count))
        colors = spec.channel_colors or ((255, 255, 255),) * count
    else:
        labels, colors = (spec.name,), ((255, 255, 255),)
    low, high = window(spec)
    return {
        "name": spec.name,
        "channels": [
            {
                "label": label,
                "color": "{:02X}{:02X}{:02X}".format(*color),
                "active": True,
                "coefficient": 1,
                "family": "linear",
                "inverted": False,
                "window": {"min": low, "max": high, "start": low, "end": high},
            }
            for label, color in zip(labels, colors, strict=True)
        ],
        "rdefs": {"model": "color"},
    }


def image_attributes(spec: ImageSpec, version: OmeVersion, own: Mapping[str, Any]) -> Document:
    """Attributes of the group of one image.

    Parameters
    ----------
    spec : ImageSpec
        The image.
    version : {"0.5", "0.4"}
        OME-Zarr version; 0.5 keeps its documents under `ome`, 0.4 at the top.
    own : mapping
        What stands under `voxelforest`: digest, provenance and so on; class names are added.
    """
    ours = {**own, "class_names": list(spec.channel_names)}
    if version == "0.5":
        ome = {"version": "0.5", "multiscales": [multiscale(spec)], "omero": omero(spec)}
        return {"ome": ome, OWN_KEY: ours}
    return {"multiscales": [{"version": "0.4", **multiscale(spec)}], "omero": omero(spec), OWN_KEY: ours}


def label_attributes(spec: ImageSpec, version: OmeVersion, own: Mapping[str, Any], largest: int) -> Document:
    """Attributes of the group of a label image, two groups below the image that it belongs to.

    Parameters
    ----------
    spec : ImageSpec
    version : {"0.5", "0.4"}
    own : mapping
        What stands under `voxelforest`.
    largest : int
        Largest label. Colours of up to `COLORED_LABELS` are written down; of more, viewers choose them.
    """
    about: Document = {"source": {"image": "../../"}}
    if 0 < largest <= COLORED_LABELS:
        about["colors"] = [{"label-value": n, "rgba": [*label_color(n), 255]} for n in range(1, largest + 1)]
    if version == "0.5":
        return {"ome": {"version": "0.5", "multiscales": [multiscale(spec)], "image-label": about}, OWN_KEY: dict(own)}
    scales = [{"version": "0.4", **multiscale(spec)}]
    return {"multiscales": scales, "image-label": {"version": "0.4", **about}, OWN_KEY: dict(own)}


def label_list(names: Sequence[str], version: OmeVersion) -> Document:
    """Attributes of the group that label images lie in."""
    listed: Document = {"labels": list(names)}
    return {"ome": {"version": "0.5", **listed}} if version == "0.5" else listed


def label_color(label: int) -> tuple[int, int, int]:
    """A bright colour; those of neighbouring labels are far apart.

    Examples
    --------
    >>> label_color(1), label_color(2)
    ((77, 129, 255), (181, 255, 77))
    """
    r, g, b = colorsys.hsv_to_rgb(label * GOLDEN % 1.0, 0.7, 1.0)
    return round(255 * r), round(255 * g), round(255 * b)


def axistags(order: str, spacing: Mapping[str, float]) -> str:
    """The `axistags` attribute of ilastik's HDF5 files: JSON, as vigra writes it.

    Parameters
    ----------
    order : str
        Axis letters in the order of the dataset.
    spacing : mapping of axis letter to float
        Voxel sizes where known; 0 stands for unknown.

    Notes
    -----
    Source: SEMANTICS section 8; type flags 1 channel, 2 space, 8 time.
    """
    tags = [
        {
            "key": a,
            "typeFlags": _VIGRA_FLAGS.get(a, _VIGRA_SPACE),
            "resolution": spacing.get(a, 0),
            "description": "",
        }
        for a in order
    ]
    return json.dumps({"axes": tags}, indent=2)
