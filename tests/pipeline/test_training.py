from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray
from sklearn.ensemble import RandomForestClassifier

from pipeline import open_project, open_volume, predict
from pipeline.annotations import Annotations
from pipeline.config import settings
from pipeline.errors import PipelineError, PlanError, ProjectError, StoreError
from pipeline.progress import Progress
from pipeline.training import Training, collect_rows, train
from pipeline.training_image import as_image
from tests.models import full_selection, memory_volume
from tests.oracles import features_of
from tests.vigra_forest import vigra_probabilities

SELECTION = full_selection((0.7, 1.0), in_2d=False)
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def image() -> Array:
    rng = np.random.default_rng(2)
    raw = rng.integers(0, 60, (9, 20, 22)).astype(np.uint8)
    raw[:, :, 11:] += 120
    return raw


@pytest.fixture(scope="module")
def labels() -> Array:
    labels = np.zeros((9, 20, 22), np.uint8)
    labels[2, 3:9, 2:6] = 1
    labels[[0, 5, 8], 4:8, 15:20] = 2
    return labels


def fit(raw: Array, labels: Any, **options: Any) -> Training:
    return train(xarray.DataArray(raw, dims=tuple("zyx")), labels, **{"features": SELECTION, "trees": 10, **options})


def test_it_says_what_scikit_learn_says(image: Array, labels: Array) -> None:
    rows = features_of(SELECTION, image[None])
    drawn = rows[:, labels > 0].T
    candidates = round(len(rows) ** 0.5)
    model = RandomForestClassifier(100, max_features=candidates, random_state=3).fit(drawn, labels[labels > 0])
    theirs = model.predict_proba(rows.reshape(len(rows), -1).T).T.reshape(2, *image.shape)
    raw = xarray.DataArray(image, dims=tuple("zyx"))
    ours = predict(raw, fit(image, labels, trees=100, seed=3).project)
    np.testing.assert_allclose(ours.transpose("c", "z", "y", "x").to_numpy(), theirs, rtol=0, atol=1e-6)


def test_written_project_predicts_the_same_here_and_in_vigra(
    image: Array, labels: Array, tmp_path: Path, vigra_python: str
) -> None:
    training = fit(image, labels)
    training.write(tmp_path / "new.ilp")
    again = open_project(tmp_path / "new.ilp")
    assert again == training.project
    rows = np.ascontiguousarray(features_of(SELECTION, image[None]).reshape(SELECTION.n_columns(1, 9), -1).T[:500])
    where = "PixelClassification/ClassifierForests"
    theirs = vigra_probabilities(vigra_python, tmp_path, tmp_path / "new.ilp", rows, where)
    ours = predict(xarray.DataArray(image, dims=tuple("zyx")), again).transpose("z", "y", "x", "c").to_numpy()
    np.testing.assert_allclose(ours.reshape(-1, 2)[:500], theirs, rtol=0, atol=1e-6)


def test_rows_are_features_at_the_annotated_voxels(
    image: Array, labels: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.CELL", 7)
    drawn = Annotations.of_array(labels, "zyx")
    rows = collect_rows(as_image(memory_volume(image, "zyx")), drawn, SELECTION, Progress())
    np.testing.assert_array_equal(rows, features_of(SELECTION, image[None])[:, labels > 0].T)


@pytest.mark.parametrize("kind", ["array", "dask", "volume", "file"])
def test_all_kinds_of_data_give_the_same_forest(image: Array, labels: Array, kind: str, tmp_path: Path) -> None:
    np.save(tmp_path / "raw.npy", image)
    raw: Any = {
        "array": lambda: xarray.DataArray(image.transpose(2, 1, 0), dims=tuple("xyz")),
        "dask": lambda: xarray.DataArray(dask.array.from_array(image, chunks=8), dims=tuple("zyx")),
        "volume": lambda: memory_volume(image, "zyx"),
        "file": lambda: open_volume(tmp_path / "raw.npy", axes="zyx"),
    }[kind]()
    given: Any = memory_volume(labels, "zyx") if kind == "volume" else xarray.DataArray(labels, dims=tuple("zyx"))
    assert train(raw, given, features=SELECTION, trees=10).project.digest == fit(image, labels).project.digest


def test_time_and_channels(image: Array, labels: Array) -> None:
    raw = np.stack([image, image[::-1]])[:, None].repeat(2, axis=1)  # t c z y x
    drawn = np.stack([labels, np.zeros_like(labels)])
    training = train(xarray.DataArray(raw, dims=tuple("tczyx")), drawn, features=SELECTION, trees=5)
    assert (training.project.axes, training.project.n_channels) == ("tzyxc", 2)
    assert training.project.stages[0].forest.n_columns == 2 * SELECTION.n_columns(1, 9)


def test_same_seed_gives_the_same_forest(image: Array, labels: Array) -> None:
    digests = [fit(image, labels, seed=seed).project.digest for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_how_far_to_trust_it_is_said(image: Array, labels: Array) -> None:
    training = fit(image, labels, trees=50, class_names=("dark", "bright", "edge"))
    assert training.project.stages[0].class_names == ("dark", "bright", "edge")
    assert training.confusion.sum(axis=1).tolist() == [(labels == 1).sum(), (labels == 2).sum()]
    assert training.score == pytest.approx(np.trace(training.confusion) / len(training.annotations))
    assert training.score is not None
    assert training.score > 0.9
    names, shares = zip(*training.importances, strict=True)
    assert set(names) == set(SELECTION.names(1, 9))
    assert sum(shares) == pytest.approx(1)
    assert list(shares) == sorted(shares, reverse=True)
    assert (
        repr(training) == "<Training on 84 voxels of dark, bright, edge: 20 features, 50 trees, out-of-bag score 1.000>"
    )


def test_one_tree_has_seen_what_it_has_seen(image: Array, labels: Array) -> None:
    training = fit(image, labels, trees=1)
    assert 0 < training.confusion.sum() < len(training.annotations)


def test_best_features_are_kept(image: Array, labels: Array) -> None:
    training = fit(image, labels, keep=2)
    chosen = {(c.feature, c.scale) for c in training.project.stages[0].features.channels(1, 9)}
    assert len(chosen) == 2
    raw = xarray.DataArray(image, dims=tuple("zyx"))
    alone = train(raw, labels, features=training.project.stages[0].features, trees=10)
    assert alone.project.digest == training.project.digest


def test_annotations_of_a_project_are_retrained(image: Array, labels: Array, tmp_path: Path) -> None:
    first = fit(image, labels, class_names=("dark", "bright"))
    first.write(tmp_path / "first.ilp")
    raw = xarray.DataArray(image, dims=tuple("zyx"))
    again = train(raw, tmp_path / "first.ilp", trees=10)
    assert again.project == first.project
    wider = train(raw, tmp_path / "first.ilp", features="GaussianSmoothing", scales=[1.0], class_names=["a", "b"])
    assert wider.project.stages[0].class_names == ("a", "b")
    assert wider.project.stages[0].forest.n_columns == 1


def test_real_project_is_retrained(ilastik_dir: Path) -> None:
    raw = open_volume(ilastik_dir / "raw.h5", axes="yx")
    again = train(raw, ilastik_dir / "pc.ilp")
    (before,), (after,) = open_project(ilastik_dir / "pc.ilp").stages, again.project.stages
    assert (after.class_names, after.forest.n_columns) == (before.class_names, before.forest.n_columns)
    theirs, ours = (
        predict(raw, project).argmax("c").to_numpy()
        for project in (open_project(ilastik_dir / "pc.ilp"), again.project)
    )
    assert (theirs == ours).mean() > 0.93  # other random numbers


def refusals(image: Array, labels: Array) -> dict[str, tuple[Any, dict[str, Any], str, str]]:
    one = np.where(labels == 1, 1, 0)
    return {
        "nothing": (np.zeros_like(labels), {}, "labels", "no voxel at all"),
        "one class": (one, {}, "labels", "24 voxels of label 1 alone"),
        "shape": (labels[1:], {}, "labels", "8x20x22 for an image of 1x9x20x22"),
        "dims": (labels[None, None], {}, "labels", "1x1x9x20x22"),
        "floats": (labels.astype(float), {}, "labels", "float64"),
        "names": (labels, {"class_names": ["a"]}, "labels", "class names a for labels up to 2"),
        "twice": (labels, {"class_names": ["a", "a"]}, "labels", "one of its own"),
        "trees": (labels, {"trees": 0}, "trees", "0 trees; allowed are 1 to 10000"),
        "scale": (labels, {"features": "all", "scales": [30]}, "image_too_small", r"scale 30\.0"),
        "both": (labels, {"scales": [1.0]}, "features", "give one of the two"),
        "keep": (labels, {"keep": 0}, "features", "0 features to keep"),
    }


@pytest.mark.parametrize("case", refusals(np.zeros((9, 20, 22)), np.zeros((9, 20, 22), np.uint8)))
def test_what_does_not_fit_is_refused(image: Array, labels: Array, case: str) -> None:
    given, options, code, says = refusals(image, labels)[case]
    with pytest.raises(PlanError, match=says) as caught:
        fit(image, given, **options)
    assert caught.value.code == code


def test_more_rows_than_memory_allows_are_refused(image: Array, labels: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXELFOREST_TRAINING_MEMORY", "1MiB")
    settings.cache_clear()
    try:
        raw = xarray.DataArray(np.tile(image, (1, 10, 10)), dims=tuple("zyx"))
        with pytest.raises(PlanError, match="training_memory allows 1 MiB"):
            train(raw, np.where(np.tile(image, (1, 10, 10)) > 100, 1, 2), features=SELECTION)
    finally:
        settings.cache_clear()


def test_image_is_named_relative_to_the_project(image: Array, labels: Array, tmp_path: Path) -> None:
    import h5py

    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data/raw.npy", image)
    training = train(open_volume(tmp_path / "data/raw.npy", axes="zyx"), labels, features=SELECTION, trees=3)
    for folder, expected in ((tmp_path, "data/raw.npy"), (tmp_path / "data", "raw.npy")):
        training.write(folder / "new.ilp")
        with h5py.File(folder / "new.ilp") as file:
            assert file["Input Data/infos/lane0000/Raw Data/filePath"][()].decode() == expected


def test_an_opened_project_is_written_again(image: Array, labels: Array, tmp_path: Path, golden_dir: Path) -> None:
    fit(image, labels).write(tmp_path / "one.ilp")
    opened = open_project(tmp_path / "one.ilp")
    opened.write(tmp_path / "two.ilp")
    assert open_project(tmp_path / "two.ilp") == opened
    with pytest.raises(StoreError, match="exists"):
        opened.write(tmp_path / "two.ilp")
    with pytest.raises(ProjectError, match="what shape"):
        open_project(golden_dir / "projects" / "pc_2d_old.ilp").write(tmp_path / "three.ilp")


def test_an_array_of_other_dims_is_refused(labels: Array) -> None:
    with pytest.raises(PipelineError, match="rename them"):
        train(xarray.DataArray(np.zeros((4, 5)), dims=("row", "column")), np.zeros((4, 5), np.uint8))
