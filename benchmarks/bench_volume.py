"""Whole volumes on two cores, from a file into a file: ours against pipelines of vigra and of scikit-image.

The peers have the easier task: their image is in memory already, their result stays there, and vigra's blocks are as
large as they can be. They run on a crop, since they are slow; their time for the whole is in proportion to voxels.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness, ours, peers
from benchmarks.cases import Case, image, train, write_case
from benchmarks.memory_probe import probe
from pipeline.blocks import Box, grid
from pipeline.project import open_project
from pipeline.volume import open_raw

CASES = (
    Case("small-3d", "shallow"),
    Case("mid-3d", "ordinary"),
    Case("plane-33", "ordinary"),
    Case("channels-75", "ordinary"),
)
TINY = (CASES[0], CASES[2])
# Edges of the whole and of the crop: of cubes, and of planes.
EDGES_3D = {"full": (256, 160), "quick": (128, 80), "tiny": (40, 32)}
EDGES_2D = {"full": (4096, 2048), "quick": (1024, 512), "tiny": (96, 64)}
EMPTY_EDGE = {"full": 512, "quick": 192, "tiny": 48}
PAIRS = {"full": 3, "quick": 1, "tiny": 1}
BUDGET = {"full": 50.0, "quick": 5.0, "tiny": 0.0}


def measure(size: str) -> Mapping[str, Any]:
    """Every case, in nanoseconds a voxel, ratios and bytes."""
    with (
        harness.pinned(2) as cores,
        peers.open_vigra(cores) as vigra,
        tempfile.TemporaryDirectory() as folder,
    ):
        cases = TINY if size == "tiny" else CASES
        rows = [_measure_case(case, size, vigra, Path(folder), cores) for case in cases]
        memory = [row for case in cases for row in _measure_memory(case, Path(folder), size, cores)]
    return {"cores": len(cores), "volumes": rows, "memory": memory}


def shapes(case: Case, size: str) -> list[tuple[int, int, int]]:
    """Shapes (z, y, x) of the whole and of the crop."""
    if case.in_2d:
        return [(1, edge, edge) for edge in EDGES_2D[size]]
    return [(edge, edge, edge) for edge in EDGES_3D[size]]


def _measure_case(
    case: Case, size: str, vigra: peers.Vigra | None, folder: Path, cores: Sequence[int]
) -> dict[str, Any]:
    project = open_project(write_case(case, folder))
    whole, crop = shapes(case, size)
    raw = image(case, crop)
    contestants: dict[str, harness.Contestant] = {}
    for name, pixels in (("ours", image(case, whole)), ("ours_crop", raw)):
        stored = ours.write_image(folder / f"{case.selection}-{name}.zarr", case.stored(pixels), case.dims)
        volume = open_raw(stored, axes=case.dims)
        contestants[name] = partial(ours.predict_file, project, volume, folder / f"{name}.zarr", len(cores))
    if vigra is not None:
        request = {**vigra_request(case, raw, folder, len(cores)), "project": project.path}
        contestants["vigra"] = partial(vigra.ask, "blocks", **request)
    rounds = harness.run_rounds(contestants, PAIRS[size], BUDGET[size])
    scikit = peers.ScikitPipeline.of(case, len(cores)) if peers.has_scikit_image() else None
    slow: dict[str, harness.Contestant] = {"ours": contestants["ours"]}
    if scikit is not None:
        slow["scikit"] = partial(scikit.predict, raw)
    slowly = harness.run_rounds(slow, PAIRS[size], BUDGET[size] / 2, warm=())
    seconds = {"scikit": slowly.median("scikit"), **{who: rounds.median(who) for who in ("ours", "ours_crop", "vigra")}}
    voxels = {"ours": math.prod(whole)}
    more = math.prod(whole) / math.prod(crop)
    return {
        "selection": case.selection,
        "depth": case.depth,
        "columns": train(case).forest.n_columns,
        "scikit_columns": scikit.columns if scikit else None,
        "shape": whole,
        "crop": crop,
        "ours_seconds": rounds.median("ours"),
        "ns_per_voxel": {who: 1e9 * s / voxels.get(who, math.prod(crop)) for who, s in seconds.items()},
        "vigra_over_ours": rounds.ratio("vigra", "ours", scale=more),
        "vigra_over_ours_crop": rounds.ratio("vigra", "ours_crop"),
        "scikit_over_ours": slowly.ratio("scikit", "ours", scale=more),
    }


def vigra_request(case: Case, raw: Any, folder: Path, threads: int) -> dict[str, Any]:
    """What vigra is asked for: the image cut along y into one block for each thread, with halos."""
    path = folder / f"{case.selection}-crop.npy"
    np.save(path, raw)
    depth, height, width = raw.shape[1:]
    halo = ours.halo_of(case, depth)
    whole = Box((0, 0, 0, 0), (1, depth, height, width))
    blocks = list(grid(whole, (1, depth, -(-height // threads), width)))
    return {
        "image": str(path),
        "features": peers.list_features(case.features, depth),
        "groups": train(case).forest.n_groups,
        "threads": threads,
        "blocks": [place(block, halo, whole) for block in blocks],
    }


def place(core: Box, halo: Sequence[int], whole: Box) -> list[list[tuple[int, int]]]:
    """A block with its halo in the image, and the block inside that: pairs (start, stop) along z, y, x."""
    outer = core.grow(halo, whole)
    inside = core.shift([-n for n in outer.start])
    return [list(zip(box.start[1:], box.stop[1:], strict=True)) for box in (outer, inside)]


def _measure_memory(case: Case, folder: Path, size: str, cores: Sequence[int]) -> list[dict[str, Any]]:
    """Peak memory of runs, each in its own process: over the whole, and in 3-D over a larger, empty one."""
    project = write_case(case, folder)
    volumes = {"full": folder / f"{case.selection}-ours.zarr"}
    if not case.in_2d:
        corner = image(case, shapes(case, size)[1])[0]
        path = folder / f"{case.selection}-empty.zarr"
        volumes["mostly empty"] = ours.write_sparse(path, (EMPTY_EDGE[size],) * 3, corner)
    return [
        {
            "selection": case.selection,
            "depth": case.depth,
            "data": name,
            **probe(project, path, case.dims, folder / "probed.zarr", cores),
        }
        for name, path in volumes.items()
    ]


if __name__ == "__main__":
    harness.main("volume", measure)
