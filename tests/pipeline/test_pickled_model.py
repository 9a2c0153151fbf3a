"""Forests out of pickles: the same decisions as scikit-learn's, and nothing done that a pickle asks for."""

from __future__ import annotations

import io
import pickle
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analyses.model import CubeModel
from pipeline.errors import ModelError
from pipeline.pickled_model import decode_pickle, import_model
from pipeline.pickled_values import PickleReader
from tests import pickles

MOST = 1 << 26
HOSTILE = sorted(pickles.hostile(Path("witness")))


def made(folder: Path, contents: bytes, components: Any = None, **options: Any) -> CubeModel:
    """The model of a pickle, imported through files."""
    (folder / "model.pkl").write_bytes(contents)
    np.save(folder / "components.npy", pickles.components() if components is None else components)
    given = {"channels": pickles.CHANNELS, "half_widths": pickles.HALF_WIDTHS} | options
    return import_model(folder / "model.pkl", folder / "components.npy", **given)


def outcome(read: Callable[[], Any]) -> tuple[str | None, Any]:
    """The code of a refusal, or None and what was read; every other exception is a failure."""
    try:
        return None, read()
    except ModelError as error:
        return error.code, None


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "options",
    [{}, {"classes": 4, "max_depth": 3, "class_weight": "balanced"}, {"trees": 1, "bootstrap": False}],
    ids=["pure", "mixed", "one tree"],
)
def test_decides_as_scikit_learn_does(tmp_path: Path, protocol: int, options: dict[str, Any]) -> None:
    forest = pickles.grow_forest(**options)
    model = made(tmp_path, pickle.dumps(forest, protocol=protocol))
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 200, (3000, pickles.K))
    on = np.concatenate([tree.tree_.threshold[tree.tree_.feature >= 0] for tree in forest.estimators_])
    rows[:1000] = rng.choice(on, (1000, pickles.K))  # values that lie on thresholds
    expected = forest.predict_proba(rows)
    assert np.array_equal(model.probabilities(rows), expected)
    assert np.array_equal(forest.classes_[model.probabilities(rows).argmax(axis=1)], forest.predict(rows))


def test_names_and_counts_of_2017(tmp_path: Path) -> None:
    """As scikit-learn 0.19 wrote them: modules without underscores, leaves that hold numbers of samples."""
    forest = pickles.grow_forest(max_depth=4)
    rows = np.random.default_rng(1).normal(0, 200, (500, pickles.K))
    expected = forest.predict_proba(rows)
    for estimator in forest.estimators_:
        tree = estimator.tree_
        tree.value[:] = tree.value * tree.weighted_n_node_samples[:, None, None]
    forest.n_features_ = forest.n_features_in_
    del forest.n_features_in_
    contents = pickle.dumps(forest, protocol=2)
    for new, old in (
        (b"csklearn.ensemble._forest\n", b"csklearn.ensemble.forest\n"),
        (b"csklearn.tree._classes\n", b"csklearn.tree.tree\n"),
        (b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"),
    ):
        assert new in contents
        contents = contents.replace(new, old)
    np.testing.assert_allclose(made(tmp_path, contents).probabilities(rows), expected, rtol=0, atol=1e-12)


def test_from_a_cube_to_its_class(tmp_path: Path) -> None:
    forest, parts = pickles.grow_forest(), pickles.components()
    model = made(tmp_path, pickle.dumps(forest), class_names=("no", "yes"))
    cubes = np.random.default_rng(2).integers(0, 256, (200, 2, 1, 3, 3), dtype=np.uint8)
    expected = forest.predict(cubes.reshape(200, -1) @ parts.T)
    assert np.array_equal(model.classify(cubes), expected + 1)
    assert model.class_names == ("no", "yes")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickle_is_refused_and_does_nothing(tmp_path: Path, name: str) -> None:
    witness = tmp_path / "witness"
    contents = pickles.hostile(witness)[name]
    modules = set(sys.modules)
    start = time.process_time()
    with pytest.raises(ModelError) as error:
        made(tmp_path, contents)
    took = time.process_time() - start
    assert error.value.code == "bad_pickle"
    assert error.value.message.startswith(str(tmp_path / "model.pkl"))
    assert len(error.value.message) < 500
    assert not witness.exists()
    assert {name for name in set(sys.modules) - modules if "f2py" in name} == set()
    assert took < 60  # some of them would take for ever


def test_the_hostile_ones_are_hostile(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    pickle.loads(pickles.hostile(witness)["system"])
    assert witness.exists()


def test_bytes_that_many_trees_share_count_for_each() -> None:
    forest = pickles.grow_forest(trees=2)
    forest.estimators_ = forest.estimators_[:1] * 500
    contents = pickle.dumps(forest)
    assert len(decode_pickle(contents, MOST)["offsets"]) == 501
    with pytest.raises(ModelError, match="exceed what a model may take") as error:
        decode_pickle(contents, 1 << 20)
    assert error.value.code == "too_large"


def test_larger_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.config import settings

    monkeypatch.setenv("VOXELFOREST_MODEL_BYTES", "1000")
    settings.cache_clear()
    try:
        with pytest.raises(ModelError, match="VOXELFOREST_MODEL_BYTES") as error:
            made(tmp_path, pickle.dumps(pickles.grow_forest()))
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert error.value.code == "too_large"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda forest: setattr(forest, "n_outputs_", 2), "several outputs"),
        (lambda forest: setattr(forest, "classes_", np.array(["a", "b"])), "classes_"),
        (lambda forest: setattr(forest, "classes_", np.array([0.5, 1.5])), "not whole numbers"),
        (lambda forest: setattr(forest, "classes_", np.arange(5)), "values are"),
        (lambda forest: setattr(forest, "estimators_", []), "without trees"),
        (lambda forest: setattr(forest, "estimators_", [1, 2]), "no decision tree"),
        (lambda forest: setattr(forest.estimators_[1], "tree_", None), "tree 1 without nodes"),
        (lambda forest: setattr(forest, "n_features_in_", "3"), "number of features"),
        (lambda forest: setattr(forest, "n_features_in_", 1 << 40), "number of features"),
    ],
)
def test_forest_that_cannot_be_used(tmp_path: Path, change: Any, says: str) -> None:
    forest = pickles.grow_forest()
    change(forest)
    with pytest.raises(ModelError, match=says):
        made(tmp_path, pickle.dumps(forest))


@pytest.mark.parametrize(
    ("components", "says"),
    [
        (np.zeros((4, pickles.VOXELS)), "belong to different models"),
        (np.zeros((pickles.K, pickles.VOXELS + 1)), "components for 19 voxels"),
        (np.zeros((pickles.K, pickles.VOXELS), int), "components are floats"),
        (np.zeros(pickles.K), "components are floats"),
        (np.full((pickles.K, pickles.VOXELS), np.nan), "no finite numbers"),
    ],
)
def test_components_that_do_not_fit(tmp_path: Path, components: Any, says: str) -> None:
    with pytest.raises(ModelError, match=says) as error:
        made(tmp_path, pickle.dumps(pickles.grow_forest()), components)
    assert error.value.code == "bad_model"


def test_pickled_objects_are_no_components(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="numbers and text are allowed"):
        made(tmp_path, pickle.dumps(pickles.grow_forest()), np.array([{}], object))


def test_files_of_joblib_are_refused_with_their_reason(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    joblib.dump(pickles.grow_forest(), buffer)
    with pytest.raises(ModelError, match=r"joblib.*NumpyArrayWrapper"):
        made(tmp_path, buffer.getvalue())


@given(data=st.data())
def test_damaged_pickles_are_refused_or_read(data: st.DataObject) -> None:
    contents = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(contents) - 1))
        contents[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(len(contents) // 2, len(contents)))
    code, arrays = outcome(lambda: decode_pickle(bytes(contents[:cut]), MOST))
    assert code in ("bad_pickle", "too_large") or arrays["feature"].dtype == np.int64


SMALL = pickle.dumps(pickles.grow_forest(trees=1, max_depth=2), protocol=2)


@given(contents=st.binary(max_size=200))
def test_noise_is_refused(contents: bytes) -> None:
    for start in (b"", b"\x80\x04"):
        assert outcome(partial(PickleReader(()).read, start + contents))[0] in ("bad_pickle", None)


def test_memory_of_a_long_pickle_is_bounded() -> None:
    """The worst per byte: dictionaries of one entry, kept by the memo."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match="instructions"):
        PickleReader(()).read(b"\x80\x04(" + b"}\x94K\x01Ns" * 400_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10
