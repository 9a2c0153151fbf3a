"""Feature stacks on one core: ours against vigra's filters, and one Gaussian against SciPy's."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import harness, ours, peers
from benchmarks.cases import Case, image
from pipeline.features import FeatureSelection
from pipeline.plan import build_stack
from pipeline.prediction import StageModel

CASES = ("small-3d", "mid-3d", "full-3d", "plane-25", "plane-33", "channels-75")
TINY = ("small-3d", "channels-75")
SHAPES = {"full": (128, 2048), "quick": (64, 768), "tiny": (40, 64)}
PAIRS = {"full": 7, "quick": 3, "tiny": 1}
BUDGET = {"full": 40.0, "quick": 12.0, "tiny": 0.0}


def measure(size: str) -> Mapping[str, Any]:
    """Every stack, in nanoseconds a voxel and as ratios to vigra."""
    edge, side = SHAPES[size]
    rows = []
    with harness.pinned(1) as cores, peers.open_vigra(cores) as vigra, tempfile.TemporaryDirectory() as folder:
        for name in TINY if size == "tiny" else CASES:
            case = Case(name, "shallow")
            shape = (1, side, side) if case.in_2d else (edge,) * 3
            rows.append(_measure_case(case, shape, vigra, Path(folder), size))
        gaussian = _measure_gaussian((edge,) * 3, size)
    return {"stacks": rows, "gaussian": gaussian}


def _measure_case(
    case: Case, shape: tuple[int, ...], vigra: peers.Vigra | None, folder: Path, size: str
) -> dict[str, Any]:
    raw = image(case, shape)
    model = ours.build_model(case, shape[0])
    contestants: dict[str, harness.Contestant] = {
        "ours": harness.timed(partial(ours.stream_features, model, raw), least=0.2),
        "ours_array": harness.timed(partial(ours.compute_features, model, raw)),
    }
    if vigra is not None:
        path = folder / f"{case.selection}.npy"
        np.save(path, raw)
        wanted = peers.list_features(case.features, shape[0])
        contestants["vigra"] = partial(vigra.ask, "features", image=str(path), features=wanted)
    rounds = harness.run_rounds(contestants, PAIRS[size], BUDGET[size], warm=("ours", "ours_array"))
    voxels = raw[0].size
    return {
        "selection": case.selection,
        "columns": model.stack.n_columns,
        "voxels": voxels,
        "ns_per_voxel": {who: 1e9 * rounds.median(who) / voxels for who in ("ours", "ours_array", "vigra")},
        "vigra_over_ours": rounds.ratio("vigra", "ours"),
        "vigra_over_ours_array": rounds.ratio("vigra", "ours_array"),
        "difference": _compare(case, model, vigra, folder),
    }


def _compare(case: Case, model: StageModel, vigra: peers.Vigra | None, folder: Path) -> float:
    """Largest difference to vigra on a small image, relative to each column's largest value; 99.9 % of the voxels."""
    if vigra is None:
        return float("nan")
    raw = image(case, (1, 96, 96) if case.in_2d else (48, 48, 48))
    source, target = (str(folder / f"{case.selection}-{name}.npy") for name in ("small", "found"))
    np.save(source, raw)
    wanted = peers.list_features(case.features, raw.shape[1])
    vigra.ask("features", image=source, features=wanted, save=target)
    theirs: npt.NDArray[np.float32] = np.load(target)
    found = ours.compute_features(model, raw)
    largest = np.abs(theirs).max(axis=(1, 2, 3), keepdims=True)
    return float(np.quantile(np.abs(found - theirs) / largest, 0.999))


def _measure_gaussian(shape: tuple[int, ...], size: str) -> list[dict[str, Any]]:
    """One smoothed volume: the feature GaussianSmoothing alone is two Gaussians, each as SciPy would do it."""
    raw = image(Case("small-3d", "shallow"), shape)
    found = []
    for sigma in (1.0, 5.0):
        selection = FeatureSelection(("GaussianSmoothing",), (sigma,), ((True,),), (False,))
        stack = build_stack(selection, 1, shape[0])
        model = StageModel(stack, ours.build_model(Case("small-3d", "shallow"), shape[0]).trees, (0,), 1)
        first = (sigma**2 - 1) ** 0.5 if sigma > 1 else sigma

        def both(first: float = first) -> None:
            peers.smooth_scipy(peers.smooth_scipy(raw[0], first, 3.5), 1.0, 2.0)

        contestants = {"ours": harness.timed(partial(ours.compute_features, model, raw)), "scipy": harness.timed(both)}
        rounds = harness.run_rounds(contestants, PAIRS[size], BUDGET[size] / 4)
        ns = {who: 1e9 * rounds.median(who) / raw.size for who in contestants}
        found.append({"sigma": sigma, "ns_per_voxel": ns, "scipy_over_ours": rounds.ratio("scipy", "ours")})
    return found


if __name__ == "__main__":
    harness.main("features", measure)
