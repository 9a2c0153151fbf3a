from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import ours, peers
from benchmarks.bench_volume import vigra_request
from benchmarks.cases import Case, image, train, write_case

SMALL = Case("small-3d", "shallow")


def test_features_are_listed_in_the_order_of_the_columns() -> None:
    listed = peers.list_features(SMALL.features, 40)
    assert [name for name, _, _ in listed] == [c.feature for c in SMALL.features.channels(1, 40) if c.eigenvalue == 0]
    assert listed[1] == ("GaussianSmoothing", 5.0, False)


def test_without_vigra_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PYTHONS", ("no-such-python",))
    peers.find_vigra.cache_clear()
    with peers.open_vigra([0]) as vigra:
        assert vigra is None
    peers.find_vigra.cache_clear()


@pytest.mark.parametrize("selection", ["small-3d", "channels-75"])
def test_vigra_computes_our_features(vigra_python: str, tmp_path: Path, selection: str) -> None:
    case = Case(selection, "shallow")
    raw = image(case, (1, 40, 40) if case.in_2d else (24, 40, 40))
    np.save(tmp_path / "raw.npy", raw)
    listed = peers.list_features(case.features, raw.shape[1])
    with peers.open_vigra([0]) as vigra:
        assert vigra is not None
        request = {"image": str(tmp_path / "raw.npy"), "features": listed, "save": str(tmp_path / "found.npy")}
        assert vigra.ask("features", **request) > 0
    found = ours.compute_features(ours.build_model(case, raw.shape[1]), raw)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), found, atol=2e-3 * np.abs(found).max())


def test_vigra_computes_our_probabilities_to_the_bit(vigra_python: str, tmp_path: Path) -> None:
    model = ours.build_model(SMALL, 24)
    features = ours.compute_features(model, image(SMALL, (24, 24, 24)))
    np.save(tmp_path / "rows.npy", np.ascontiguousarray(features.reshape(len(features), -1).T))
    project, found = write_case(SMALL, tmp_path), tmp_path / "found.npy"
    with peers.open_vigra([0]) as vigra:
        assert vigra is not None
        vigra.ask("forest", rows=str(tmp_path / "rows.npy"), project=str(project), groups=1, save=str(found))
    expected = ours.predict_slabs(model, ours.cut_slabs(model, features))
    np.testing.assert_array_equal(np.load(found).T.reshape(expected.shape), expected)


def test_blocks_for_vigra_cover_the_image_once(tmp_path: Path) -> None:
    raw = image(SMALL, (24, 41, 30))
    covered = np.zeros(raw.shape[1:], int)
    for outer, inside in vigra_request(SMALL, raw, tmp_path, threads=2)["blocks"]:
        part = covered[tuple(slice(*span) for span in outer)]
        part[tuple(slice(*span) for span in inside)] += 1
    assert (covered == 1).all()


def test_vigra_that_dies_is_reported(vigra_python: str) -> None:
    with peers.open_vigra([0]) as vigra:
        assert vigra is not None
        with pytest.raises(RuntimeError, match="vigra ended"):
            vigra.ask("nothing of that kind")


def test_scikit_has_nearly_as_many_columns() -> None:
    pytest.importorskip("skimage")
    case = Case("plane-33", "shallow")
    scikit = peers.ScikitPipeline.of(case, 1)
    assert 0.9 * train(case).forest.n_columns <= scikit.columns <= train(case).forest.n_columns
    assert scikit.predict(image(case, (1, 40, 40))) > 0
