"""Objects across blocks: ours beside dask-image's `label` on the same chunks, and the memory of a large map.

Maps are spheres on a jittered grid, in uint8, a few of them in each chunk and many across borders. dask-image labels a
mask and nothing else, so ours neither smooth nor remove anything beside it; the large map is smoothed and filtered.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from benchmarks import harness
from benchmarks.label_probe import probe

CHUNK = {"full": 64, "quick": 64, "tiny": 8}
# Beside dask-image: each size twice the one before, until it needs more than the limit.
LADDERS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "full": ((128, 256, 256), (256, 256, 256), (256, 512, 256), (256, 512, 512), (256, 1024, 512), (256, 1024, 1024)),
    "quick": ((128, 128, 128), (128, 256, 256)),
    "tiny": ((16, 24, 24),),
}
LIMIT_SECONDS = 180.0
LARGE = {"full": ((256, 1024, 1024), 100_000), "quick": ((128, 256, 256), 3_000), "tiny": ((16, 40, 40), 10)}
PITCH, RADIUS, JITTER = (16.0, 12.8, 12.8), 4.5, 1.0


def measure(size: str) -> Mapping[str, Any]:
    """Seconds, objects, tasks and bytes of all contestants."""
    with harness.pinned(2) as cores, tempfile.TemporaryDirectory() as folder:
        ladder = _climb(size, Path(folder), cores)
        shape, objects = LARGE[size]
        volume = write_spheres(Path(folder, "large.zarr"), shape, CHUNK[size], objects)
        large = probe("processes", volume, Path(folder, "labels.zarr"), CHUNK[size], cores, None, sigma=1.0)
    assert large is not None
    return {"cores": len(cores), "ladder": ladder, "large": {"shape": shape, "spheres": objects, **large}}


def _climb(size: str, folder: Path, cores: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of one size each; the last is the largest at which dask-image was done in time."""
    rows: list[dict[str, Any]] = []
    for number, shape in enumerate(LADDERS[size]):
        volume = write_spheres(folder / f"{number}.zarr", shape, CHUNK[size])
        ways = ["dask-image"] if find_spec("dask_image") else []
        found: dict[str, Any] = {}
        for way in [*ways, "threads", "lazy"]:
            found[way] = probe(way, volume, folder / f"{number}-{way}.zarr", CHUNK[size], cores, LIMIT_SECONDS)
            if found[way] is None:
                return rows
        if len({row["objects"] for row in found.values()}) != 1:
            raise RuntimeError(f"they disagree on how many objects there are: {found}")
        peer = found.get("dask-image", {}).get("seconds", math.nan)
        ratios = {f"peer_over_{way}": peer / found[way]["seconds"] for way in ("threads", "lazy")}
        rows.append(
            {"shape": shape, "chunk": CHUNK[size], "objects": found["lazy"]["objects"], **ratios, "runs": found}
        )
    return rows


def write_spheres(path: Path, shape: tuple[int, int, int], chunk: int, most: int | None = None) -> Path:
    """Write a map of spheres that do not touch, 0 and 255.

    Parameters
    ----------
    path : Path
    shape : tuple of int, (z, y, x)
    chunk : int
        Edge of a chunk, voxels.
    most : int, optional
        How many spheres; as many as there is room for by default.
    """
    rng = np.random.default_rng(0)
    counts = [max(int(n / pitch), 1) for n, pitch in zip(shape, PITCH, strict=True)]
    cells = np.indices(counts).reshape(3, -1).T
    centres = (cells + 0.5) * PITCH + rng.uniform(-JITTER, JITTER, cells.shape)
    centres = centres[np.sort(rng.permutation(len(centres))[:most])]
    array = zarr.create_array(str(path), shape=shape, chunks=(chunk,) * 3, dtype="uint8")
    reach = math.ceil(RADIUS)
    for first in range(0, shape[0], chunk):
        depth = min(chunk, shape[0] - first)
        slab = np.zeros((depth + 2 * reach, shape[1], shape[2]), np.uint8)
        for centre in centres[(centres[:, 0] > first - reach) & (centres[:, 0] < first + depth + reach)]:
            _draw(slab, centre - (first - reach, 0, 0), reach)
        array[first : first + depth] = slab[reach : reach + depth]
    return path


def _draw(slab: np.ndarray[Any, np.dtype[np.uint8]], centre: np.ndarray[Any, np.dtype[np.float64]], reach: int) -> None:
    low = np.maximum(np.round(centre).astype(int) - reach, 0)
    high = np.minimum(np.round(centre).astype(int) + reach + 1, slab.shape)
    parts = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    z, y, x = (np.arange(a, b) - c for a, b, c in zip(low, high, centre, strict=True))
    inside = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 <= RADIUS**2
    slab[parts][inside] = 255


if __name__ == "__main__":
    harness.main("labels", measure)
