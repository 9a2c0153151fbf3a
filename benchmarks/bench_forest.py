"""The forest alone on one core, three depths: ours against vigra's, to the bit, and scikit-learn's."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier

from benchmarks import harness, ours, peers
from benchmarks.cases import DEPTHS, TRAINING_SHAPE, Case, annotate, image, train, write_case

SELECTION = "mid-3d"
SHAPES = {"full": (96, 96, 96), "quick": (48, 64, 64), "tiny": (24, 32, 32)}
PAIRS = {"full": 5, "quick": 3, "tiny": 1}
BUDGET = {"full": 45.0, "quick": 12.0, "tiny": 0.0}


def measure(size: str) -> Mapping[str, Any]:
    """Every depth, in microseconds a voxel and as ratios."""
    with harness.pinned(1) as cores, peers.open_vigra(cores) as vigra, tempfile.TemporaryDirectory() as folder:
        depths = ("shallow", "ordinary") if size == "tiny" else tuple(DEPTHS)
        rows = [_measure_depth(Case(SELECTION, depth), vigra, Path(folder), size) for depth in depths]
    return {"selection": SELECTION, "forests": rows}


def _measure_depth(case: Case, vigra: peers.Vigra | None, folder: Path, size: str) -> dict[str, Any]:
    model, forest = ours.build_model(case, TRAINING_SHAPE[0]), train(case).forest
    features = ours.compute_features(model, image(case, SHAPES[size]))
    slabs = ours.cut_slabs(model, features)
    rows = np.ascontiguousarray(features.reshape(len(features), -1).T)
    sklearn, theirs = _fit(case, ours.compute_features(model, image(case, TRAINING_SHAPE))), None
    contestants: dict[str, harness.Contestant] = {
        "ours": harness.timed(partial(ours.predict_slabs, model, slabs), least=0.2),
        "sklearn": harness.timed(partial(sklearn.predict_proba, rows)),
    }
    if vigra is not None:
        source, target = (str(folder / f"{case.depth}-{name}.npy") for name in ("rows", "found"))
        np.save(source, rows)
        request = {"rows": source, "project": str(write_case(case, folder)), "groups": forest.n_groups}
        contestants["vigra"] = partial(vigra.ask, "forest", **request)
        vigra.ask("forest", **request, save=target)
        theirs = np.load(target)
    rounds = harness.run_rounds(contestants, PAIRS[size], BUDGET[size])
    probability = ours.predict_slabs(model, slabs).reshape(forest.n_classes, -1).T
    return {
        "depth": case.depth,
        "trees": forest.n_trees,
        "nodes_per_tree": forest.n_nodes / forest.n_trees,
        "columns": forest.n_columns,
        "rows": len(rows),
        "us_per_row": {who: 1e6 * rounds.median(who) / len(rows) for who in ("ours", "vigra", "sklearn")},
        "vigra_over_ours": rounds.ratio("vigra", "ours"),
        "sklearn_over_ours": rounds.ratio("sklearn", "ours"),
        "same_bits_as_vigra": None if theirs is None else bool(np.array_equal(probability, theirs)),
        "difference_to_sklearn": float(np.abs(probability - sklearn.predict_proba(rows)).max()),
    }


def _fit(case: Case, features: npt.NDArray[np.float32]) -> RandomForestClassifier:
    """The model that our forest was made from: same rows, same seed."""
    labels, _ = annotate(case)
    rows = np.ascontiguousarray(features[:, labels > 0].T)
    model: RandomForestClassifier = peers.fit_sklearn(rows, labels[labels > 0], jobs=1)
    return model


if __name__ == "__main__":
    harness.main("forest", measure)
