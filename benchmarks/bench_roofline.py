"""How near the features come to what the machine can do: operations and bytes of a stack against measured peaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import harness, ours
from benchmarks.cases import Case, image
from benchmarks.peak import measure_bandwidth, measure_flops
from numba_ops.stack import HESSIAN, NEEDS, STRUCTURE, Scale, Stack

CASES = ("small-3d", "mid-3d", "full-3d", "plane-25", "plane-33", "channels-75")
TINY = ("small-3d", "plane-33")
SHAPES = {"full": (128, 2048), "quick": (64, 768), "tiny": (40, 64)}
PAIRS = {"full": 5, "quick": 3, "tiny": 1}
# Sizes of three arrays, mebibytes: within the second-level cache, and far beyond the third.
SIZES = {"L2": 0.5, "memory": 384.0}
# Operations of one eigenvalue field a voxel, counted from its source, double ones twice, a division or a root as one.
EIGEN_3D, EIGEN_2D = 230, 10


@dataclass(frozen=True)
class Work:
    """What a stack needs a voxel, halos and scratch apart: a lower bound.

    `operations` on float32, of which `filtering` in filters; `bytes` that must come from memory and go back to it;
    `cached` bytes of features that are written once and read once.
    """

    operations: float
    filtering: float
    bytes: float
    cached: float


def count_work(stack: Stack, classes: int, itemsize: int = 1) -> Work:
    """Count the operations of a stack from its taps; a multiply-add is two."""
    channels = [c for scale in stack.scales for c in range(stack.n_channels) if (scale.columns[c] >= 0).any()]
    scales = [s for s in stack.scales for c in range(stack.n_channels) if (s.columns[c] >= 0).any()]
    filtering = sum(_count_filtering(s, c) for s, c in zip(scales, channels, strict=True))
    eigen = sum(_count_eigen(s, c) for s, c in zip(scales, channels, strict=True))
    moved = stack.n_channels * itemsize + 4.0 * classes
    return Work(filtering + eigen, filtering, moved, 8.0 * stack.n_columns)


def _pass(taps: Any) -> float:
    """Operations of one pass with symmetric taps: the centre's product, then a sum and a multiply-add for each pair."""
    return 1.0 + 3.0 * (len(taps) - 1)


def _count_filtering(scale: Scale, channel: int) -> float:
    axes = 2 if scale.in_2d else 3
    found = axes * _pass(scale.presmooth)
    orders = _wanted_orders(scale, channel)
    along_x = {x for x, _, _ in orders}
    along_y = {(x, y) for x, y, _ in orders}
    found += sum(_pass(scale.filters[x] if x < 3 else scale.inner) for x in along_x)
    found += sum(_pass(scale.filters[y] if y < 3 else scale.inner) for _, y in along_y)
    if not scale.in_2d:
        found += sum(_pass(scale.filters[z] if z < 3 else scale.inner) for _, _, z in orders)
    if scale.columns[channel, STRUCTURE] >= 0:
        products = 3 if scale.in_2d else 6
        found += (5 if scale.in_2d else 8) * _pass(scale.gradient[0]) + products * (1 + axes * _pass(scale.filters[0]))
    return found


def _wanted_orders(scale: Scale, channel: int) -> set[tuple[int, int, int]]:
    """Orders along x, y, z of every derivative that is read; 3 stands for the second Gaussian of the difference."""
    in_plane = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (3, 3))
    found = set()
    for feature, wanted in NEEDS.items():
        if scale.columns[channel, feature] >= 0:
            for plane, z in wanted:
                x, y = in_plane[plane]
                if not (scale.in_2d and z):
                    found.add((x, y, 3 if x == 3 else z))
    return found


def _count_eigen(scale: Scale, channel: int) -> float:
    fields = sum(int(scale.columns[channel, feature] >= 0) for feature in (STRUCTURE, HESSIAN))
    return fields * (EIGEN_2D if scale.in_2d else EIGEN_3D)


def measure(size: str) -> Mapping[str, Any]:
    """Peaks of one core, and each stack beside them."""
    edge, side = SHAPES[size]
    with harness.pinned(1):
        flops = measure_flops()
        bandwidth = {name: measure_bandwidth(megabytes) for name, megabytes in SIZES.items()}
        rows = []
        for name in TINY if size == "tiny" else CASES:
            case = Case(name, "shallow")
            raw = image(case, (1, side, side) if case.in_2d else (edge,) * 3)
            model = ours.build_model(case, raw.shape[1])
            work = harness.timed(partial(ours.stream_features, model, raw), least=0.1)
            seconds = harness.run_rounds({"ours": work}, PAIRS[size], 15.0).median("ours")
            rows.append(_beside(name, count_work(model.stack, 2), 1e9 * seconds / raw[0].size, flops, bandwidth))
    return {"flops": flops, "bandwidth": bandwidth, "stacks": rows}


def _beside(name: str, work: Work, ns: float, flops: float, bandwidth: Mapping[str, float]) -> dict[str, Any]:
    return {
        "selection": name,
        "operations": work.operations,
        "filtering": work.filtering,
        "bytes": work.bytes,
        "cached_bytes": work.cached,
        "ns_per_voxel": ns,
        "least_by_operations": 1e9 * work.operations / flops,
        "least_by_memory": 1e9 * work.bytes / bandwidth["memory"],
        "least_by_cache": 1e9 * work.cached / bandwidth["L2"],
        "share_of_peak": work.operations / (ns * flops / 1e9),
    }


if __name__ == "__main__":
    harness.main("roofline", measure)
