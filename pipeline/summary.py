"""What a run did, for people and for programs."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import Any

from pipeline.images import ImageSpec


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Parameters
    ----------
    path : str
        The output, a path or a URL.
    images : tuple of ImageSpec
        What it holds.
    voxels : int
        Voxels of the region that was asked for.
    seconds : float
    computed_blocks : int
        Blocks that this run computed; those that were done before are not among them.
    peak_bytes : int
        Sum of what this process and its workers held at most.
    reused : bool
        Whether the output was finished before, and nothing was left to do.
    """

    path: str
    images: tuple[ImageSpec, ...]
    voxels: int
    seconds: float
    computed_blocks: int
    peak_bytes: int
    reused: bool


def to_dict(summary: Summary) -> dict[str, Any]:
    """The same as one JSON-ready dictionary."""
    return {
        "output": summary.path,
        "images": [
            {"name": spec.name, "dims": spec.dims, "shape": list(spec.shape), "dtype": spec.dtype}
            for spec in summary.images
        ],
        "seconds": round(summary.seconds, 3),
        "voxels": summary.voxels,
        "peak_bytes": summary.peak_bytes,
        "computed_blocks": summary.computed_blocks,
        "reused": summary.reused,
    }


def describe(summary: Summary) -> list[str]:
    """What was written and how to look at it, as lines."""
    if summary.reused:
        first = f"{summary.path}: was finished before, nothing is left to do"
    else:
        rate = summary.voxels / max(summary.seconds, 1e-9) / 1e6
        first = (
            f"{summary.path}: {summary.voxels:,} voxels in {summary.seconds:.1f} s ({rate:.1f} million a second), "
            f"at most {summary.peak_bytes / 2**20:,.0f} MiB of memory"
        )
    images = [
        f"  {spec.name}: {' '.join(f'{a}={n}' for a, n in zip(spec.dims, spec.shape, strict=True))} {spec.dtype}"
        for spec in summary.images
    ]
    return [first, *images, f"look: {_way_to_look(summary)}"]


def _way_to_look(summary: Summary) -> str:
    path, name = summary.path, summary.images[0].name
    suffix = os.path.splitext(path)[1]
    if suffix == ".npy":
        return f"numpy.load({path!r}, mmap_mode='r') in Python"
    if suffix == ".h5":
        return f"ilastik or Fiji, dataset exported_data; open_volume({path!r}) in Python"
    if suffix in (".tif", ".tiff"):
        return f"Fiji or napari; tifffile.memmap({path!r}, mode='r') in Python"
    if suffix == ".png":
        return f"any viewer of pictures; open_volume({path!r}) in Python"
    pictures = [spec for spec in summary.images if spec.role == "image"]
    image = f"{path}/{name}" if len(pictures) > 1 else path
    return f"napari --plugin napari-ome-zarr {shlex.quote(image)}; open_volume({image!r}) in Python"
