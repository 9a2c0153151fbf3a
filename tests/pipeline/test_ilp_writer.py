import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from pipeline.annotations import Annotations
from pipeline.errors import StoreError
from pipeline.features import FeatureSelection
from pipeline.forest import forest_of_sklearn
from pipeline.ilp_writer import TrainingImage, write_project
from pipeline.project import Project, Stage, open_project
from tests.oracles import GOLDEN, features_of, forest_rows, load_golden_module
from tests.vigra_forest import vigra_probabilities

SELECTION = FeatureSelection(("GaussianSmoothing",), (0.7, 1.6), ((True, True),), (True, True))
IMAGE = TrainingImage("raw.h5/volume", "yx", (30, 40))
DRAWN = Annotations.of_array(np.eye(30, 40, dtype=np.uint8), "yx")


def make_stage(classes: tuple[int, ...] = (1, 2), columns: int = 2, **options: Any) -> Stage:
    x = np.random.default_rng(3).normal(size=(200, columns)).astype(np.float32)
    y = np.array(classes)[(np.abs(x[:, 0]) * 2).astype(int) % len(classes)]
    model = RandomForestClassifier(12, random_state=0).fit(x, y)
    names = tuple(f"class é{k}" for k in range(1, max(classes) + 1))
    colors = tuple((k, 20, 255) for k in range(len(names)))
    return Stage(options.get("features", SELECTION), forest_of_sklearn(model, groups=3), names, colors)


def image_of(project: Project) -> TrainingImage:
    assert project.shape is not None
    return TrainingImage("image.npy", project.axes, project.shape)


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((GOLDEN / "projects").iterdir()) if "old" not in path.name],
    ids=lambda path: path.stem,
)
def test_written_project_is_read_back_equal(tmp_path: Path, path: Path) -> None:
    project = open_project(path)
    write_project(tmp_path / "new.ilp", project.stages, image_of(project))
    again = open_project(tmp_path / "new.ilp")
    assert again == project
    assert (again.shape, again.version, again.workflow) == (project.shape, project.version, project.workflow)


@pytest.mark.parametrize("name", ["pc_2d3c", "pc_3d_mixed", "ac_2d"])
def test_golden_and_written_file_hold_the_same(tmp_path: Path, name: str) -> None:
    """Everything but what names this file: dataset for dataset, as ilastik has them."""
    theirs_path = GOLDEN / "projects" / f"{name}.ilp"
    project = open_project(theirs_path)
    write_project(tmp_path / "new.ilp", project.stages, image_of(project))
    own = ("time", "datasetId", "filePath", "nickname", "row_count_", "actual_msample_", "actual_mtry_", "topology")
    with h5py.File(theirs_path) as theirs, h5py.File(tmp_path / "new.ilp") as ours:
        names: list[str] = []
        theirs.visit(names.append)
        for path in names:
            assert path in ours
            if isinstance(theirs[path], h5py.Dataset) and path.rpartition("/")[2] not in (*own, "parameters"):
                assert ours[path].dtype == theirs[path].dtype, path
                assert np.array_equal(ours[path][()], theirs[path][()]), path
                assert dict(ours[path].attrs) == dict(theirs[path].attrs), path


def test_reference_reads_it_and_says_the_same(tmp_path: Path) -> None:
    stage = make_stage((1, 3))
    write_project(tmp_path / "new.ilp", [stage], IMAGE)
    image = np.load(GOLDEN / "in_2d_u8.npy")[:30, :40]
    want = load_golden_module("ref").Project(tmp_path / "new.ilp").predict(image, "yx")[0]
    rows = features_of(stage.features, image[None, None]).reshape(2, -1).T
    np.testing.assert_array_equal(want[..., [0, 2]].reshape(-1, 2), forest_rows(stage.forest, rows))
    assert want.shape == (30, 40, 3)


def test_vigra_reads_it_and_says_the_same(tmp_path: Path, vigra_python: str) -> None:
    stage = make_stage((1, 2, 4))
    write_project(tmp_path / "new.ilp", [stage], IMAGE, n_rows=200)
    rows = np.random.default_rng(1).normal(size=(5000, 2)).astype(np.float32)
    where = "PixelClassification/ClassifierForests"
    got = vigra_probabilities(vigra_python, tmp_path, tmp_path / "new.ilp", rows, where)
    np.testing.assert_allclose(forest_rows(stage.forest, rows), got, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["pc", "PixelClass3D"])
def test_vigra_says_the_same_of_real_projects(ilastik_dir: Path, tmp_path: Path, vigra_python: str, name: str) -> None:
    path = ilastik_dir / f"{name}.ilp"
    forest = open_project(path).stages[0].forest
    rows = np.random.default_rng(1).normal(scale=50, size=(2000, forest.n_columns)).astype(np.float32)
    rows[7, 0], rows[8, 1] = np.nan, np.inf
    got = vigra_probabilities(vigra_python, tmp_path, path, rows, "PixelClassification/ClassifierForests")
    np.testing.assert_array_equal(forest_rows(forest, rows), got)


def test_old_libraries_can_read_it(tmp_path: Path) -> None:
    write_project(tmp_path / "new.ilp", [make_stage()], IMAGE)
    assert (tmp_path / "new.ilp").read_bytes()[8] == 0  # version of the superblock


def test_undecided_dimensions_are_written_for_this_image(tmp_path: Path) -> None:
    features = replace(SELECTION, compute_in_2d=None)
    write_project(tmp_path / "new.ilp", [make_stage(features=features)], IMAGE)
    assert open_project(tmp_path / "new.ilp").stages[0].features == SELECTION


def test_annotations_are_cut_to_what_is_drawn(tmp_path: Path) -> None:
    drawn = np.zeros((200, 150), np.uint8)
    drawn[3:9, 20:30] = 1
    drawn[5, 22], drawn[190, 149] = 2, 2
    image = TrainingImage("a.npy", "yxc", (200, 150, 1))
    write_project(tmp_path / "new.ilp", [make_stage()], image, annotations=[Annotations.of_array(drawn, "yx")])
    again = np.zeros((200, 150, 1), np.uint8)
    with h5py.File(tmp_path / "new.ilp") as file:
        blocks = list(file["PixelClassification/LabelSets/labels000"].values())
        assert sorted(block.shape for block in blocks) == [(1, 1, 1), (6, 10, 1)]
        for block in blocks:
            spans = [span.split(":") for span in block.attrs["blockSlice"].strip("[]").split(",")]
            again[tuple(slice(int(a), int(b)) for a, b in spans)] = block[()]
            assert [tag["key"] for tag in json.loads(block.attrs["axistags"])["axes"]] == ["y", "x", "c"]
    np.testing.assert_array_equal(again[..., 0], drawn)


@pytest.mark.parametrize(
    ("path", "kind"), [("raw.h5/volume", "RelativeFilesystemDatasetInfo"), ("/data/raw.h5/v", "FilesystemDatasetInfo")]
)
def test_image_is_found_relative_or_absolute(tmp_path: Path, path: str, kind: str) -> None:
    write_project(tmp_path / "new.ilp", [make_stage()], replace(IMAGE, path=path))
    with h5py.File(tmp_path / "new.ilp") as file:
        raw = file["Input Data/infos/lane0000/Raw Data"]
        assert (raw["__class__"][()].decode(), raw["filePath"][()].decode()) == (kind, path)


def test_existing_file_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "new.ilp"
    path.write_bytes(b"mine")
    with pytest.raises(StoreError, match="exists"):
        write_project(path, [make_stage()], IMAGE)
    assert path.read_bytes() == b"mine"
    write_project(path, [make_stage()], IMAGE, overwrite=True)
    assert open_project(path).stages[0].forest.n_groups == 3
    assert list(tmp_path.iterdir()) == [path]


def test_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.ilp_writer._write_classifier", fail)
    with pytest.raises(StoreError, match="No space left"):
        write_project(tmp_path / "new.ilp", [make_stage()], IMAGE)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="cannot write"):
        write_project(tmp_path / "no folder" / "new.ilp", [make_stage()], IMAGE)


@pytest.mark.parametrize(
    ("stages", "image", "annotations", "says"),
    [
        (0, IMAGE, [], "one stage or two, not 0"),
        (3, IMAGE, [], "one stage or two, not 3"),
        (1, replace(IMAGE, axes="zyx"), [], "do not fit the shape"),
        (1, replace(IMAGE, axes="yxc", shape=(30, 40, 2)), [], "give 4 columns, the forest has 2"),
        (2, IMAGE, [], "give 6 columns"),
        (1, IMAGE, [DRAWN, DRAWN], "annotations for 2 stages do not fit 1"),
        (1, replace(IMAGE, shape=(30, 41)), [DRAWN], "annotations must be on an image of shape"),
        (1, IMAGE, [Annotations.of_array(np.full((30, 40), 3), "yx")], "labels up to 2"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, stages: int, image: TrainingImage, annotations: list[Annotations], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        write_project(tmp_path / "new.ilp", [make_stage()] * stages, image, annotations=annotations)
    assert list(tmp_path.iterdir()) == []
