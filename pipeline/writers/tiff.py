"""TIFF, axes TZCYX, one page a plane, not compressed: an ImageJ hyperstack where it can be one, else OME-TIFF.

An ImageJ hyperstack holds uint8, uint16 or float32 and is no BigTIFF, so it ends before 4 GiB. All else is OME-TIFF,
a BigTIFF where needed. Fiji, tifffile and Bio-Formats take the axes from either. Values lie one after the other, so
that they can be put in place chunk by chunk. Our record is a private tag of the first page.

Source: https://imagej.net/ij/docs/guide, https://docs.openmicroscopy.org/ome-model/6.2.2/ome-tiff/specification.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from pipeline.errors import StoreError
from pipeline.writers.layout import Picture, Readable, fill_mapped, micrometres, read_quietly, whole_file

RECORD_TAG = 65000  # 65000 to 65535 are free for anybody's use
IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
DTYPES = (*IMAGEJ_DTYPES, "uint32")
CLASSIC_BYTES = 2**32 - 2**25  # offsets have 32 bits; some are left for what is not values
PAGE_BYTES = 1024  # more than the tags of one page
LABELLED_PAGES = 1 << 16  # names are repeated for each plane, in a block of their own that is held in memory

_SECONDS = {"second": 1.0, "s": 1.0, "sec": 1.0, "millisecond": 1e-3, "ms": 1e-3, "microsecond": 1e-6, "us": 1e-6,
            "minute": 60.0, "min": 60.0, "hour": 3600.0, "h": 3600.0}  # fmt: skip


def check(picture: Picture) -> None:
    """Refuse types that neither ImageJ nor OME knows."""
    if picture.spec.dtype not in DTYPES:
        raise StoreError(f"TIFF holds {', '.join(DTYPES)}, not {picture.spec.dtype}; write .zarr or .h5")


def is_imagej(picture: Picture) -> bool:
    """Whether the file is an ImageJ hyperstack, else OME-TIFF."""
    return picture.spec.dtype in IMAGEJ_DTYPES and not _is_big(picture)


def write(array: Readable, picture: Picture, temporary: Path, path: Path) -> None:
    """Write all planes; see `pipeline.writers.Writer.write`."""
    with whole_file(picture, temporary, path):
        fill_mapped(picture, array, temporary, _begin(picture, temporary))


def read_record(path: Path) -> Mapping[str, Any] | None:
    """The private tag of the first page."""
    return read_quietly(lambda: _read(path))


def _read(path: Path) -> Any:
    with tifffile.TiffFile(path) as file:
        return json.loads(file.pages.first.tags[RECORD_TAG].value)


def _begin(picture: Picture, path: Path) -> int:
    """Make the file with all pages, without values; returns where these begin."""
    imagej = is_imagej(picture)
    record = (RECORD_TAG, "s", 0, json.dumps(picture.record), True)
    steps = _steps(picture)
    with tifffile.TiffWriter(path, bigtiff=_is_big(picture), byteorder="<", imagej=imagej, ome=not imagej) as file:
        place = file.write(
            None,
            shape=picture.shape,
            dtype=picture.dtype,
            photometric="minisblack",
            software=str(picture.record.get("provenance", {}).get("software", "voxelforest")),
            metadata=_imagej_metadata(picture, steps) if imagej else _ome_metadata(picture, steps),
            resolution=(1 / steps.get("x", 1.0), 1 / steps.get("y", 1.0)),
            resolutionunit="NONE",
            extratags=[record],
            returnoffset=True,
        )
    if place is None:
        raise AssertionError("values of a TIFF that is not compressed lie one after the other")
    return place[0]


def _is_big(picture: Picture) -> bool:
    pages = picture.length("t") * picture.length("z") * picture.length("c")
    return picture.spec.size * picture.spec.itemsize + pages * PAGE_BYTES > CLASSIC_BYTES


def _steps(picture: Picture) -> dict[str, float]:
    """Voxel size by axis: in micrometres and seconds if the units of z, y, x are known, else bare numbers."""
    spacing, units = picture.spec.spacing, picture.spec.units
    steps = {a: spacing[a] for a in "zyx" if a in spacing} | micrometres(picture.spec)
    if "t" in spacing:
        steps["t"] = spacing["t"] * _SECONDS.get(units.get("t", ""), 1.0)
    return steps


def _imagej_metadata(picture: Picture, steps: Mapping[str, float]) -> dict[str, Any]:
    spec, channels = picture.spec, picture.length("c")
    found: dict[str, Any] = {"axes": "TZCYX", "mode": "composite" if 1 < channels <= 7 else "grayscale"}
    if micrometres(picture.spec):
        found["unit"] = "um"
    if "z" in steps:
        found["spacing"] = steps["z"]
    if "t" in steps:
        found["finterval"] = steps["t"]
    found |= {f"{a}origin": -spec.origin[a] for a in "xyz" if spec.origin.get(a)}  # ImageJ's is where 0 lies
    if spec.value_range is not None:
        found |= {"min": spec.value_range[0], "max": spec.value_range[1], "Ranges": spec.value_range * channels}
    if spec.channel_names:
        found["Info"] = "\n".join(f"{spec.name} {i}: {name}" for i, name in enumerate(spec.channel_names, 1))
    if "c" in spec.dims:
        planes = picture.length("t") * picture.length("z")
        if spec.channel_names and planes * channels <= LABELLED_PAGES:
            found["Labels"] = list(spec.channel_names) * planes
        if spec.channel_colors:
            found["LUTs"] = [_ramp(color) for color in spec.channel_colors]
    return found


def _ramp(color: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Colours from black to `color`, (3, 256)."""
    return np.rint(np.outer(color, np.linspace(0, 1, 256))).astype(np.uint8)


def _ome_metadata(picture: Picture, steps: Mapping[str, float]) -> dict[str, Any]:
    spec = picture.spec
    found: dict[str, Any] = {"axes": "TZCYX", "Name": spec.name}
    for axis in "xyz":
        if axis in steps:
            found[f"PhysicalSize{axis.upper()}"] = steps[axis]
            found[f"PhysicalSize{axis.upper()}Unit"] = "µm" if micrometres(picture.spec) else "pixel"
    if "t" in steps:
        found |= {"TimeIncrement": steps["t"], "TimeIncrementUnit": "s"}
    if "c" in spec.dims and spec.channel_names:
        found["Channel"] = {"Name": list(spec.channel_names)}
        if spec.channel_colors:
            found["Channel"]["Color"] = [_signed_rgba(color) for color in spec.channel_colors]
    elif spec.channel_names:
        found["Description"] = "; ".join(f"{i}: {name}" for i, name in enumerate(spec.channel_names, 1))
    return found


def _signed_rgba(color: tuple[int, int, int]) -> int:
    """A colour as OME has it: four bytes, red first, as a signed number."""
    return int.from_bytes(bytes((*color, 255)), signed=True)
