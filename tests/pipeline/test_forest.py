from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from pipeline.forest import Tree, forest_of_sklearn, join_trees
from pipeline.project import open_project
from tests.oracles import GOLDEN, channels_of, features_of, forest_rows


def train(classes: list[int], n_trees: int = 7, **options: Any) -> tuple[Any, NDArray[np.float32]]:
    x = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    y = np.array(classes)[np.clip(x[:, 0] * 2 + x[:, 1], 0, len(classes) - 1).astype(int)]
    return RandomForestClassifier(n_trees, random_state=0, **options).fit(x, y), x


def stump(column: int, threshold: float, left: list[float], right: list[float]) -> Tree:
    return Tree(
        np.array([column, -1, -1], np.int32), np.array([threshold, 0, 0]), np.array([[0, 0], left, right], np.float64)
    )


def test_thresholds_decide_in_double() -> None:
    forest = open_project(GOLDEN / "projects" / "pc_double_threshold.ilp").stages[0].forest
    expected = np.load(GOLDEN / "probabilities.npz")
    got = forest_rows(forest, expected["rows_double_threshold"])
    np.testing.assert_array_equal(got, expected["rows_double_threshold_prob"])


@pytest.mark.parametrize("name", ["pc_2d", "pc_2d_old", "pc_small", "pc_missing_class"])
def test_whole_images_equal_the_stored_probabilities(name: str) -> None:
    stage = open_project(GOLDEN / "projects" / f"{name}.ilp").stages[0]
    image = np.load(GOLDEN / "in_2d_u8.npy")
    features = features_of(stage.features, image[None, None])
    rows = forest_rows(stage.forest, features.reshape(len(features), -1).T)
    got = channels_of(stage.forest, rows, len(stage.class_names)).reshape(*image.shape, -1)
    np.testing.assert_array_equal(got, np.load(GOLDEN / "probabilities.npz")[f"prob_{name}"])


def test_trees_lie_breadth_first_with_children_side_by_side() -> None:
    forest = open_project(GOLDEN / "projects" / "pc_3d.ilp").stages[0].forest
    interior = forest.column >= 0
    assert (forest.child[~interior] == -1).all()
    assert (forest.child[interior, 1] == forest.child[interior, 0] + 1).all()
    assert (forest.child[interior, 0] > np.flatnonzero(interior)).all()
    reached = np.sort(np.concatenate([forest.roots, forest.child[interior].ravel()]))
    np.testing.assert_array_equal(reached, np.arange(forest.n_nodes))
    assert (forest.probability[interior] == 0).all()
    assert (forest.probability[~interior].sum(axis=1) > 0).all()


def test_counts_and_types() -> None:
    forest = open_project(GOLDEN / "projects" / "pc_2d.ilp").stages[0].forest
    assert (forest.n_trees, forest.n_groups, forest.n_classes, forest.n_columns) == (14, 3, 2, 14)
    assert np.bincount(forest.group).tolist() == [5, 5, 4]
    types = [a.dtype.str[1:] for a in (forest.column, forest.threshold, forest.child, forest.probability)]
    assert types == ["i4", "f8", "i4", "f8"]
    assert forest.roots.dtype == forest.group.dtype == np.int32


def test_single_trees_are_handed_out_as_they_came_in() -> None:
    trees = [stump(0, 0.5, [1, 0], [0, 1]), stump(1, 2.5, [0.5, 0.5], [0, 3])]
    forest = join_trees(trees, [0, 1], [1, 4], 2)
    assert forest.child.tolist() == [[1, 2], [-1, -1], [-1, -1], [4, 5], [-1, -1], [-1, -1]]
    for number, tree in enumerate(trees):
        for got, want in zip(forest.tree(number), tree, strict=True):
            np.testing.assert_array_equal(got, want)


def test_rows_with_nan_are_zero_and_infinities_are_values() -> None:
    forest = join_trees([stump(0, 0.5, [1, 0], [0, 1])], [0], [1, 2], 2)
    x = np.array([[np.inf, 0], [-np.inf, 0], [0.5, 0], [0, np.nan]], np.float32)
    assert forest_rows(forest, x).tolist() == [[0, 1], [1, 0], [0, 1], [0, 0]]


@pytest.mark.parametrize("classes", [[1, 2], [1, 2, 4], [3]])
def test_sklearn_forest_says_what_sklearn_says(classes: list[int]) -> None:
    model, x = train(classes)
    forest = forest_of_sklearn(model, groups=3)
    assert forest.labels == tuple(classes)
    np.testing.assert_allclose(forest_rows(forest, x), model.predict_proba(x), atol=1e-6)


def test_sklearn_thresholds_decide_alike_on_the_very_value() -> None:
    model, _ = train([1, 2], n_trees=1, bootstrap=False, max_depth=3)
    tree = model.estimators_[0].tree_
    x = np.zeros((tree.node_count, 5), np.float32)
    for row, (column, threshold) in enumerate(zip(tree.feature, tree.threshold, strict=True)):
        x[row, max(column, 0)] = threshold
    np.testing.assert_array_equal(forest_rows(forest_of_sklearn(model), x), model.predict_proba(x).astype(np.float32))


@pytest.mark.parametrize("classes", [[0, 1], [1, 256], [1.5, 2], [-1, 1]])
def test_sklearn_classes_must_be_labels(classes: list[int]) -> None:
    model, _ = train([1, 2], n_trees=1)
    model.classes_ = np.array(classes)
    with pytest.raises(ValueError, match="whole numbers from 1 to 255"):
        forest_of_sklearn(model)


def test_more_groups_than_trees_are_refused() -> None:
    model, _ = train([1, 2], n_trees=2)
    with pytest.raises(ValueError, match="2 trees cannot be dealt to 3 groups"):
        forest_of_sklearn(model, groups=3)
