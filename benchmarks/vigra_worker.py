"""The peer vigra, in the Python that has it: reads requests as lines of JSON, times itself, answers in kind.

Imports nothing of VoxelForest: vigra comes as a package of the system and lives in the system's own Python. Requests:

    {"do": "pin", "cores": [0]}
    {"do": "features", "image": NPY, "features": [[name, scale, in_2d], ...], "save": NPY or null}
    {"do": "forest", "rows": NPY, "project": ILP, "groups": n, "save": NPY or null}
    {"do": "blocks", "image": NPY, "features": ..., "project": ILP, "groups": n, "blocks": [[outer, inside], ...],
     "threads": 2}

An image has the axes (c, z, y, x). The windows are those of ilastik; presmoothing once per scale, as ilastik does it.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np

warnings.simplefilter("ignore")
vigra: Any = importlib.import_module("vigra")
importlib.import_module("vigra.learning")


def presmooth(image: Any, scale: float) -> Any:
    """One channel, (y, x) or (z, y, x), smoothed as it is before any filter at this scale."""
    sigma = math.sqrt(scale * scale - 1.0) if scale > 1.0 else scale
    return vigra.filters.gaussianSmoothing(image, sigma, window_size=3.5)


def apply(image: Any, name: str, scale: float) -> Any:
    """One feature of a presmoothed channel; eigenvalues on the last axis."""
    filters, s = vigra.filters, min(scale, 1.0)
    if name == "GaussianSmoothing":
        return filters.gaussianSmoothing(image, s, window_size=2.0)
    if name == "LaplacianOfGaussian":
        return filters.laplacianOfGaussian(image, s, window_size=2.0)
    if name == "GaussianGradientMagnitude":
        return filters.gaussianGradientMagnitude(image, s, window_size=2.0)
    if name == "DifferenceOfGaussians":
        wide = filters.gaussianSmoothing(image, s, window_size=2.0)
        return wide - filters.gaussianSmoothing(image, s * 0.66, window_size=2.0)
    if name == "StructureTensorEigenvalues":
        return filters.structureTensorEigenvalues(image, s * 0.5, s, window_size=2.0)
    return filters.hessianOfGaussianEigenvalues(image, s, window_size=2.0)


def compute_features(image: Any, wanted: list[list[Any]]) -> list[Any]:
    """All features of an image (c, z, y, x), each (z, y, x) or (z, y, x, eigenvalues), in the order of the forest."""
    channels, smooth = [np.asarray(c, np.float32) for c in image], {}
    found = []
    for name, scale, in_2d in wanted:
        for number, channel in enumerate(channels):
            if (scale, number) not in smooth:
                smooth[scale, number] = each_plane(channel, in_2d, lambda a, s=scale: presmooth(a, s))
            found.append(each_plane(smooth[scale, number], in_2d, lambda a, n=name, s=scale: apply(a, n, s)))
    return found


def each_plane(volume: Any, in_2d: bool, filtered: Any) -> Any:
    """A filter over a volume (z, y, x), or over each of its planes."""
    if not in_2d:
        return np.asarray(filtered(vigra.taggedView(volume, "zyx")))
    planes = [np.asarray(filtered(vigra.taggedView(plane, "yx"))) for plane in volume]
    return planes[0][None] if len(planes) == 1 else np.stack(planes)


def by_columns(features: list[Any]) -> list[Any]:
    """Features with eigenvalues apart, each (z, y, x)."""
    return [column for f in features for column in ([f] if f.ndim == 3 else np.moveaxis(f, -1, 0))]


def predict(forests: list[Any], rows: Any) -> Any:
    """Probabilities as ilastik averages them over its groups of trees."""
    total: Any = sum(forest.predictProbabilities(rows) * forest.treeCount() for forest in forests)
    return total / np.float32(sum(forest.treeCount() for forest in forests))


@lru_cache(maxsize=4)
def load(path: str) -> Any:
    """An array, read once."""
    return np.load(path)


@lru_cache(maxsize=4)
def load_forests(project: str, groups: int) -> list[Any]:
    """The forests of a project, read once."""
    name = "PixelClassification/ClassifierForests/Forest%04d"
    return [vigra.learning.RandomForest(project, name % i) for i in range(groups)]


def do_features(request: dict[str, Any]) -> float:
    image = load(request["image"])
    started = time.perf_counter()
    found = compute_features(image, request["features"])
    passed = time.perf_counter() - started
    if request.get("save"):
        np.save(request["save"], np.stack(by_columns(found)))
    return passed


def do_forest(request: dict[str, Any]) -> float:
    rows, forests = load(request["rows"]), load_forests(request["project"], request["groups"])
    started = time.perf_counter()
    found = predict(forests, rows)
    passed = time.perf_counter() - started
    if request.get("save"):
        np.save(request["save"], found)
    return passed


def do_blocks(request: dict[str, Any]) -> float:
    """Blocks with halos: features, cut, rows, forest, into an array in memory; one block a thread at a time."""
    image, forests = load(request["image"]), load_forests(request["project"], request["groups"])

    def block(place: list[Any]) -> Any:
        outer, inside = (tuple(slice(a, b) for a, b in box) for box in place)
        columns = by_columns(compute_features(image[(slice(None), *outer)], request["features"]))
        shape = columns[0][inside].shape
        rows = np.empty((math.prod(shape), len(columns)), np.float32)
        for i, column in enumerate(columns):
            rows[:, i] = column[inside].reshape(-1)
        return predict(forests, rows).reshape(*shape, -1)

    started = time.perf_counter()
    with ThreadPoolExecutor(request["threads"]) as pool:
        for _ in pool.map(block, request["blocks"]):
            pass
    return time.perf_counter() - started


def do_pin(request: dict[str, Any]) -> float:
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), request["cores"])
    return 0.0


def main() -> None:
    """Answer requests until the input ends."""
    work = {"pin": do_pin, "features": do_features, "forest": do_forest, "blocks": do_blocks}
    version = getattr(vigra, "version", "?")
    print(json.dumps({"seconds": 0.0, "version": version if isinstance(version, str) else "?"}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({"seconds": work[request["do"]](request)}), flush=True)


if __name__ == "__main__":
    main()
