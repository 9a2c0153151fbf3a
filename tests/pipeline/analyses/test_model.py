"""Classifiers of cubes: decisions, files, and arrays that cannot be used."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analyses.model import CHANNELS, CubeModel, build_model, load_model
from pipeline.analyses.model_arrays import ARRAYS
from pipeline.errors import ModelError, StoreError
from pipeline.pickled_model import decode_pickle
from tests import pickles

Arrays = dict[str, npt.NDArray[Any]]


@pytest.fixture(scope="module")
def trees() -> Arrays:
    return dict(decode_pickle(pickle.dumps(pickles.grow_forest(trees=3)), 1 << 24))


@pytest.fixture
def model(trees: Arrays) -> CubeModel:
    return small(trees)


def small(trees: Arrays, **options: Any) -> CubeModel:
    """A model of cubes of 1 x 3 x 3 voxels in two channels."""
    given = {"channels": pickles.CHANNELS, "half_widths": pickles.HALF_WIDTHS} | options
    return build_model(pickles.components(), trees, **given)


def test_file_brings_the_same_model_back(model: CubeModel, tmp_path: Path) -> None:
    model.write(tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz")
    cubes = np.random.default_rng(0).integers(0, 256, (50, 2, 1, 3, 3), dtype=np.uint8)
    assert np.array_equal(again.classify(cubes), model.classify(cubes))
    assert (again.digest, again.channels, again.half_widths) == (model.digest, pickles.CHANNELS, (0, 1, 1))
    assert again.class_names == ("non-GABA", "GABA")
    assert "3 trees" in repr(again)


def test_digest_counts_every_array_and_no_type_of_integer(trees: Arrays, model: CubeModel) -> None:
    narrow = {name: v.astype(np.int32) if v.dtype == np.int64 else v for name, v in trees.items()}
    assert small(narrow).digest == model.digest
    assert small(trees, class_names=("a", "b")).digest != model.digest
    assert small(trees | {"threshold": trees["threshold"] + 1}).digest != model.digest


def test_rows_do_not_depend_on_what_is_beside_them(model: CubeModel) -> None:
    cubes = np.random.default_rng(0).integers(0, 256, (40, 2, 1, 3, 3), dtype=np.uint8)
    whole = model.project(cubes)
    for part in (slice(0, 1), slice(5, 22), slice(39, 40)):
        assert np.array_equal(model.project(cubes[part]), whole[part])
    assert model.classify(cubes[:0]).shape == (0,)


def test_fewer_channels_meet_the_first_columns(model: CubeModel) -> None:
    cubes = np.random.default_rng(0).integers(0, 256, (5, 2, 1, 3, 3), dtype=np.uint8)
    expected = cubes[:, 0].reshape(5, 9) @ model.components[:, :9].T
    np.testing.assert_allclose(model.project(cubes[:, :1]), expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"not uint8 of \(m, 2, 1, 3, 3\)"):
        model.project(cubes.astype(np.int64))
    with pytest.raises(ValueError, match="shape"):
        model.project(np.concatenate([cubes, cubes], axis=1))
    with pytest.raises(ValueError, match=r"not \(m, 3\)"):
        model.probabilities(np.zeros((2, 4)))


def test_a_tie_goes_to_the_first_class() -> None:
    stumps = {
        "offsets": np.array([0, 1, 2]),
        "classes": np.array([0, 1]),
        "children_left": np.array([-1, -1]),
        "children_right": np.array([-1, -1]),
        "feature": np.array([-2, -2]),
        "threshold": np.array([-2.0, -2.0]),
        "value": np.array([[0.0, 3.0], [5.0, 0.0]]),
    }
    cubes = np.zeros((1, 2, 1, 3, 3), np.uint8)
    assert small(stumps).classify(cubes).tolist() == [1]
    assert small(stumps).probabilities(np.zeros((1, 3))).tolist() == [[0.5, 0.5]]


def bend(name: str, at: Any, value: Any) -> Any:
    """A change of one number."""

    def change(arrays: Arrays) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][at] = value

    return change


def put(name: str, value: Any) -> Any:
    """Another array in place of one."""
    return lambda arrays: arrays.__setitem__(name, np.asarray(value))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda arrays: arrays.pop("value"), "has no array value"),
        (put("format", "another"), "is of the format 'another'"),
        (put("version", 2), "'voxelforest-cubes' 1 is read"),
        (put("version", [1, 1]), "'voxelforest-cubes' 1 is read"),
        (put("channels", ["a", "A"]), "twice in channels"),
        (put("channels", [1, 2]), "list of 1 to 254 names"),
        (put("channels", ["a", "b\n"]), "not printable"),
        (put("channels", np.array([0x110000, 0x110000], "u4").view("<U1")), "no characters"),
        (put("channels", ["a"]), r"cubes \(1, 3, 3\) of 1 channels have 9"),
        (put("class_names", ["a"]), "1 class_names for 2 classes"),
        (put("half_widths", [0, 1]), "three whole numbers"),
        (put("half_widths", [0, 1, -1]), "three whole numbers"),
        (put("half_widths", [0.0, 1, 1]), "three whole numbers"),
        (put("half_widths", [1 << 40, 1, 1]), "three whole numbers"),
        (put("components", np.zeros((3, 18), np.float32)), "float64"),
        (bend("components", (1, 1), np.inf), "no finite numbers"),
        (put("classes", [1, 0]), "does not ascend"),
        (put("classes", [0, 1, 2]), "value"),
        (bend("offsets", 0, 1), "offsets that does not go"),
        (bend("offsets", 1, 0), "a tree has no node"),
        (put("offsets", [0]), "offsets that does not go"),
        (put("feature", [0.5]), "whole numbers"),
        (put("threshold", np.zeros(3)), "array threshold of float64"),
        (bend("children_left", 0, 0), "tree 0 .*node 0 has a child outside"),
        (bend("children_left", 0, -5), "child outside"),
        (bend("children_left", 0, 1 << 40), "child outside"),
        (bend("children_left", 0, -1), "node 0 has one child alone"),
        (bend("children_right", 0, 1), "node 1 has two parents"),
        (bend("feature", 0, 3), r"feature outside 0\.\.2"),
        (bend("feature", 0, -1), r"feature outside 0\.\.2"),
        (bend("threshold", 0, np.nan), "threshold that is not finite"),
        (bend("value", slice(None), 0), "leaf without valid values"),
        (bend("value", slice(None), -1), "leaf without valid values"),
        (bend("value", slice(None), np.nan), "leaf without valid values"),
        (bend("value", slice(None), 1e308), "leaf without valid values"),
    ],
)
def test_arrays_that_are_no_classifier(model: CubeModel, tmp_path: Path, change: Any, says: str) -> None:
    arrays = dict(model.arrays)
    change(arrays)
    np.savez(tmp_path / "m.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=says) as error:
        load_model(tmp_path / "m.npz")
    assert error.value.code in ("bad_model", "not_npz")
    assert error.value.message.startswith(str(tmp_path / "m.npz"))


def test_cycle_beside_a_tree_is_found(trees: Arrays) -> None:
    ring = {
        "offsets": np.array([0, 5]),
        "classes": trees["classes"],
        "children_left": np.array([-1, 2, 1, -1, -1]),
        "children_right": np.array([-1, 3, 4, -1, -1]),
        "feature": np.zeros(5, int),
        "threshold": np.zeros(5),
        "value": np.ones((5, 2)),
    }
    with pytest.raises(ModelError, match="4 nodes are in a cycle"):
        small(ring)


@given(data=st.data())
def test_bent_trees_are_refused_or_end(data: st.DataObject) -> None:
    arrays = dict(decode_pickle(PICKLED, 1 << 24))
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(
            st.sampled_from(["children_left", "children_right", "feature", "threshold", "value", "offsets"])
        )
        at = data.draw(st.integers(0, len(arrays[name]) - 1))
        value = data.draw(
            st.integers(-3, len(arrays["feature"]) + 3) if arrays[name].dtype.kind == "i" else st.floats()
        )
        bend(name, at, value)(arrays)
    try:
        bent = small(arrays)
    except ModelError:
        return
    shares = bent.probabilities(np.random.default_rng(0).normal(0, 300, (20, pickles.K)))
    np.testing.assert_allclose(shares.sum(axis=1), 1)


PICKLED = pickle.dumps(pickles.grow_forest(trees=2, max_depth=3))


def test_where_a_model_may_be_written(model: CubeModel, tmp_path: Path) -> None:
    model.write(tmp_path / "m.npz")
    with pytest.raises(StoreError, match="exists"):
        model.write(tmp_path / "m.npz")
    model.write(tmp_path / "m.npz", overwrite=True)
    with pytest.raises(StoreError, match=r"ends in \.npz"):
        model.write(tmp_path / "m.pkl")
    with pytest.raises(StoreError, match="no folder"):
        model.write(tmp_path / "absent" / "m.npz")
    assert set(np.load(tmp_path / "m.npz", allow_pickle=False).files) == set(ARRAYS)


def test_published_classifier_decides_as_its_reference(nomads_dir: Path, tmp_path: Path) -> None:
    components = np.load(nomads_dir / "components.npy", allow_pickle=False)
    with np.load(nomads_dir / "forest.npz", allow_pickle=False) as published:
        trees = {name: published[name] for name in published.files}
    build_model(components, trees).write(tmp_path / "m.npz")
    model = load_model(tmp_path / "m.npz")
    assert (model.channels, model.cube_shape, model.forest.n_trees) == (CHANNELS, (15, 9, 9), 10)
    for kind in ("uint8_corrected", "uint16_corrected", "uint8_legacy", "uint16_legacy"):
        with np.load(nomads_dir / f"golden_{kind}.npz", allow_pickle=False) as golden:
            assert np.array_equal(model.probabilities(golden["projected"]), golden["probabilities"])
