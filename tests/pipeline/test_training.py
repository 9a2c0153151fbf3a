from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline import prediction
from pipeline.blocks import Box
from pipeline.errors import PlanError
from pipeline.features import FeatureSelection
from pipeline.plan import build_stack, make
from pipeline.project import Stage
from pipeline.training import train_stage
from tests.models import full_selection, make_project, memory_volume
from tests.oracles import features_of, forest_rows

NAMES, COLORS = ("dark", "bright", "edge"), ((0, 0, 0), (255, 255, 255), (9, 9, 9))
SELECTION = full_selection((0.7, 1.0), in_2d=False)


@pytest.fixture(scope="module")
def image() -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(2)
    raw = rng.integers(0, 60, (1, 9, 20, 22)).astype(np.uint8)
    raw[:, :, :, 11:] += 120
    return raw


@pytest.fixture(scope="module")
def labels() -> np.ndarray[Any, Any]:
    labels = np.zeros((9, 20, 22), np.uint8)
    labels[2, 3:9, 2:6] = 1
    labels[[0, 5, 8], 4:8, 15:20] = 2
    return labels


def train(raw: Any, labels: Any, selection: FeatureSelection = SELECTION, seed: int = 0) -> Stage:
    return train_stage(raw, labels, selection, NAMES, COLORS, trees=10, seed=seed)


def test_forest_knows_its_own_annotations(image: Any, labels: Any) -> None:
    stage = train(image, labels)
    assert stage.forest.labels == (1, 2)  # nobody annotated the third
    assert stage.forest.n_columns == SELECTION.n_columns(1, 9)
    rows = features_of(SELECTION, image)[:, labels > 0].T
    predicted = forest_rows(stage.forest, rows).argmax(axis=1) + 1
    assert (predicted == labels[labels > 0]).mean() > 0.99


def test_trained_stage_predicts_what_it_was_taught(image: Any, labels: Any) -> None:
    project = make_project([train(image, labels)], "zyx")
    volume = memory_volume(image[0], "zyx")
    plan = make(volume.whole, 1, "uint8", "zyx", project, outputs=["segmentation"])
    found = prediction.predict_block(prediction.make_task(volume, project, plan), Box.whole((1, 9, 20, 22)))
    right = np.where(np.arange(22) >= 11, 2, 1)
    assert (found["segmentation"] == right).mean() > 0.9


def test_same_seed_gives_the_same_forest(image: Any, labels: Any) -> None:
    digests = [make_project([train(image, labels, seed=seed)], "zyx").digest for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_rows_are_features_at_the_annotated_voxels(image: Any, labels: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sklearn.ensemble

    seen = []

    class Spy(sklearn.ensemble.RandomForestClassifier):
        def fit(self, rows: Any, answers: Any) -> Any:
            seen.append((rows, answers))
            return super().fit(rows, answers)

    monkeypatch.setattr(sklearn.ensemble, "RandomForestClassifier", Spy)
    train(image, labels)
    ((rows, answers),) = seen
    np.testing.assert_array_equal(rows, features_of(SELECTION, image)[:, labels > 0].T)
    np.testing.assert_array_equal(answers, labels[labels > 0])
    assert rows.shape[1] == build_stack(SELECTION, 1, 9).n_columns


@pytest.mark.parametrize("kept", [(), (1,)])
def test_fewer_than_two_classes_are_refused(image: Any, labels: Any, kept: tuple[int, ...]) -> None:
    with pytest.raises(PlanError, match=f"{len(kept)} class") as caught:
        train(image, np.where(np.isin(labels, kept), labels, 0).astype(np.uint8))
    assert caught.value.code == "labels"


def test_image_too_small_for_a_scale_is_refused(image: Any, labels: Any) -> None:
    with pytest.raises(PlanError) as caught:
        train(image, labels, full_selection((3.5,), in_2d=False))
    assert caught.value.code == "image_too_small"
