"""Small outputs for tests: specifications, values, and a run that writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.images import ImageSpec
from pipeline.pyramid import chunk_boxes, levels, shrink
from pipeline.store import Store, create


def make_spec(shape: tuple[int, ...] = (2, 20, 35, 33), dims: str = "czyx", **changes: Any) -> ImageSpec:
    """An image of odd shape with several chunks and levels."""
    chunks = tuple({"t": 1, "c": n, "z": 8}.get(a, 16) for a, n in zip(dims, shape, strict=True))
    values: dict[str, Any] = {"name": "probabilities", "chunks": chunks, "dtype": "float32"}
    return ImageSpec(dims=dims, shape=shape, **{**values, **changes})


def make_values(spec: ImageSpec, seed: int = 0) -> NDArray[Any]:
    """Random values of the image's type; floats lie in 0..1."""
    rng = np.random.default_rng(seed)
    if spec.dtype == "float32":
        return rng.random(spec.shape, dtype=np.float32)
    return rng.integers(0, min(np.iinfo(spec.dtype).max, 2**40), spec.shape, dtype=spec.dtype)


def begin(path: Path, *images: ImageSpec, **changes: Any) -> Store:
    """Create an output; `changes` replace arguments of `create`."""
    kept: dict[str, Any] = {"provenance": {"project": "pc.ilp"}, "digest": "d1", "final_axes": "tzyxc"}
    if images and "final_axes" not in changes:
        kept["final_axes"] = images[0].dims.replace("c", "") + "c"
    return create(path, list(images), **{**kept, **changes})


def write_level_0(store: Store, name: str, values: NDArray[Any]) -> None:
    """Write all chunks that are not there."""
    spec = store.image(name)
    for start, stop in chunk_boxes(spec.shape, spec.unit):
        if not store.is_written(name, start, stop):
            store.write(name, start, values[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))])


def write_all(store: Store, values: dict[str, NDArray[Any]]) -> Path:
    """Write and finish an output."""
    for name, array in values.items():
        write_level_0(store, name, array)
        for level in store.level_blocks(name):
            for block in level:
                store.build_level_block(name, *block)
    return Path(store.finish())


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_with_tensorstore(path: Path, version: str) -> NDArray[Any]:
    """An array of zarr v3 (OME-Zarr 0.5) or v2 (0.4), by way of another implementation than zarr's own."""
    import tensorstore

    driver = {"0.5": "zarr3", "0.4": "zarr"}[version]
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}}
    return np.asarray(tensorstore.open(spec, read=True).result().read().result())


def whole_levels(spec: ImageSpec, values: NDArray[Any]) -> list[NDArray[Any]]:
    """All levels of an image from whole arrays."""
    made = [values]
    for level in levels(spec)[:-1]:
        made.append(shrink(made[-1], spec.dims, level.last, spec.reduce))
    return made
