import json
import pickle
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.errors import PipelineError, ProjectError
from pipeline.project import check_data, open_project
from tests.oracles import GOLDEN, load_golden_module

SMALL = GOLDEN / "projects" / "pc_small.ilp"
EXPECTED: dict[str, str | None] = json.loads((GOLDEN / "malformed" / "expected.json").read_text())["files"]
RAW = "Input Data/infos/lane0000/Raw Data"
CLASSIFIER = "PixelClassification/ClassifierForests"
TREE = f"{CLASSIFIER}/Forest0000/Tree_0"
NEEDED = [
    "workflowName",
    "Input Data/Role Names",
    RAW,
    f"{RAW}/axistags",
    f"{RAW}/shape",
    "FeatureSelections",
    *(f"FeatureSelections/{name}" for name in ("FeatureIds", "Scales", "SelectionMatrix", "ComputeIn2d")),
    CLASSIFIER,
    *(f"{CLASSIFIER}/{name}" for name in ("pickled_type", "known_labels", "Forest0000")),
    *(f"{CLASSIFIER}/Forest0000/_ext_param/{name}" for name in ("column_count_", "class_count_")),
    f"{CLASSIFIER}/Forest0000/_options/predict_weighted_",
    TREE,
    f"{TREE}/topology",
    f"{TREE}/parameters",
    "PixelClassification/LabelNames",
    "PixelClassification/LabelColors",
]
Edit = Callable[[Callable[[h5py.File], Any]], Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """A copy of the small project, changed."""

    def edit(change: Callable[[h5py.File], Any]) -> Path:
        path = tmp_path / "edited.ilp"
        shutil.copyfile(SMALL, path)
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    return edit


def replace(path: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[path]
        if value is not None:
            file[path] = value

    return change


def refusal(path: Path) -> str | None:
    """The code of the refusal, None if the project is good for a plane of 96 x 80 voxels."""
    try:
        check_data(open_project(path), "yx", (96, 80))
    except PipelineError as error:
        named = str(path) in error.message and "\n" not in error.message
        return error.code if named else f"message without the file: {error}"
    return None


@pytest.mark.parametrize("name", EXPECTED)
def test_malformed_project_is_refused_with_its_code(name: str) -> None:
    assert refusal(GOLDEN / "malformed" / name) == EXPECTED[name]


@pytest.mark.parametrize("name", [name for name in EXPECTED if "huge" in name])
def test_declared_sizes_take_no_memory(name: str) -> None:
    tracemalloc.start()
    refusal(GOLDEN / "malformed" / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("name", ["classifier_evil", "classifier_appended", "pickle_unused_ok"])
def test_nothing_is_unpickled(name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("unpickled")

    for function in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, function, refuse)
    refusal(GOLDEN / "malformed" / f"{name}.ilp")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("path", sorted((GOLDEN / "projects").iterdir()), ids=lambda path: path.stem)
def test_good_project_is_read_as_the_reference_reads_it(path: Path) -> None:
    project, reference = open_project(path), load_golden_module("ref").Project(path)
    assert (project.workflow, project.axes, project.shape) == (reference.workflow, reference.axes, reference.shape)
    assert project.n_channels == reference.n_channels
    for stage, (features, forests, n_labels) in zip(project.stages, reference.stages, strict=True):
        assert list(stage.features.ids) == features.ids
        assert list(stage.features.scales) == features.scales
        assert np.array_equal(stage.features.matrix, features.matrix)
        assert list(stage.features.compute_in_2d or []) == (features.compute_in_2d or [])
        assert list(stage.forest.labels) == forests.labels
        assert (stage.forest.n_columns, stage.forest.n_trees) == (forests.n_features, forests.n_trees)
        assert len(stage.class_names) == len(stage.class_colors) == n_labels


@pytest.mark.parametrize(
    ("name", "columns", "trees", "planes"),
    [
        ("pc", [33], 100, 1),
        ("PixelClass", [25], 100, 1),
        ("PixelClass3D", [11], 100, 64),
        ("Autocontext_2D", [17, 39], 100, 1),
    ],
)
def test_real_projects_are_read(ilastik_dir: Path, name: str, columns: list[int], trees: int, planes: int) -> None:
    project = open_project(ilastik_dir / f"{name}.ilp")
    assert [stage.forest.n_columns for stage in project.stages] == columns
    assert [stage.features.n_columns(1 + 2 * k, planes) for k, stage in enumerate(project.stages)] == columns
    assert {stage.forest.n_trees for stage in project.stages} == {trees}
    assert project.stages[0].class_names == ("Label 1", "Label 2")


@pytest.mark.parametrize(
    ("name", "code"), [("PixelClassNoData", "no_input_data"), ("PixelClassNoClassifier", "no_classifier")]
)
def test_real_unfinished_projects_are_refused(ilastik_dir: Path, name: str, code: str) -> None:
    with pytest.raises(ProjectError, match="train") as caught:
        open_project(ilastik_dir / f"{name}.ilp")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("workflowName", np.bytes_(b"Pixel Classification\xff"), "workflow"),
        ("workflowName", 3, "workflow"),
        (f"{RAW}/axistags", b"\xff", "bad_input_data"),
        (f"{RAW}/axistags", "[" * 50_000, "bad_input_data"),
        (f"{RAW}/axistags", '{"axes": "yx"}', "bad_input_data"),
        (f"{RAW}/axistags", '{"axes": [{"key": "yx"}]}', "bad_input_data"),
        (f"{RAW}/axistags", '{"axes": [{"key": 3}, {"key": "x"}]}', "bad_input_data"),
        (f"{RAW}/axistags", '{"axes": [{"key": "z"}, {"key": "x"}]}', "bad_input_data"),
        (f"{RAW}/axistags", None, "bad_input_data"),
        (f"{RAW}/shape", [96, 80, 1], "bad_input_data"),
        (f"{RAW}/shape", [96, 0], "bad_input_data"),
        (f"{RAW}/shape", [96.0, np.nan], "bad_input_data"),
        ("FeatureSelections/FeatureIds", [1, 2, 3, 4, 5, 6], "bad_features"),
        ("FeatureSelections/FeatureIds", [b"\xff"] * 6, "bad_features"),
        ("FeatureSelections/Scales", [b"1.0"] * 7, "bad_features"),
        ("FeatureSelections/Scales", 1.0, "bad_features"),
        ("FeatureSelections/SelectionMatrix", np.ones(42, bool), "bad_features"),
        ("FeatureSelections/ComputeIn2d", [b"yes"] * 7, "bad_features"),
        (f"{CLASSIFIER}/pickled_type", np.zeros(4), "classifier_type"),
        (f"{CLASSIFIER}/pickled_type", h5py.Empty("S1"), "classifier_type"),
        (f"{CLASSIFIER}/pickled_type", np.void(b"\0"), "classifier_type"),
        (f"{CLASSIFIER}/known_labels", [1.0, 2.0], "bad_forest"),
        (f"{CLASSIFIER}/known_labels", [1, 256], "bad_forest"),
        (f"{CLASSIFIER}/known_labels", [-1, 1], "bad_forest"),
        (f"{CLASSIFIER}/known_labels", [2, 2], "bad_forest"),
        (f"{CLASSIFIER}/Forest0000/_ext_param/class_count_", [2.5], "bad_forest"),
        (f"{CLASSIFIER}/Forest0000/_ext_param/class_count_", [2.0, 2.0], "bad_forest"),
        (f"{CLASSIFIER}/Forest0000/_ext_param/column_count_", b"6", "bad_forest"),
        (f"{CLASSIFIER}/Forest0001", 1.0, "bad_forest"),
        (TREE, 1.0, "bad_forest"),
        ("PixelClassification/LabelNames", [b"x"] * 256, "too_large"),
    ],
)
def test_wrong_content_is_refused(edited: Edit, path: str, value: Any, code: str) -> None:
    assert refusal(edited(replace(path, value))) == code


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{RAW}/shape", None),
        (f"{CLASSIFIER}/pickled_type", None),
        (f"{CLASSIFIER}/known_labels", None),
        (f"{CLASSIFIER}/Forest0000/_options", None),
        ("FeatureSelections/ComputeIn2d", np.zeros(0, bool)),
        ("FeatureSelections/ComputeIn2d", np.ones(7, np.int64)),
        ("Input Data/Role Names", None),
        ("Input Data/Role Names", 3.0),
        ("PixelClassification/LabelNames", None),
        ("PixelClassification/LabelColors", h5py.SoftLink("/nowhere")),
        ("PixelClassification/Bookmarks", 3),
        ("PixelClassification/ClassifierFactory", b"\x80"),
    ],
)
def test_what_is_not_needed_may_be_missing_or_odd(edited: Edit, path: str, value: Any) -> None:
    def change(file: h5py.File) -> None:
        file.pop(path, None)
        if value is not None:
            file[path] = value

    assert refusal(edited(change)) is None


def test_old_axis_order_is_read_without_axistags(edited: Edit) -> None:
    def change(file: h5py.File) -> None:
        del file[f"{RAW}/axistags"]
        file[f"{RAW}/axisorder"] = b"xy"

    assert open_project(edited(change)).axes == "xy"


def test_last_lane_counts(edited: Edit) -> None:
    def change(file: h5py.File) -> None:
        file.copy("Input Data/infos/lane0000", "Input Data/infos/lane0001")
        file["Input Data/infos/lane0001/Raw Data/shape"][:] = 7, 8

    assert open_project(edited(change)).shape == (7, 8)


def test_single_forest_of_the_sequential_classifier(edited: Edit) -> None:
    def change(file: h5py.File) -> None:
        file[f"{CLASSIFIER}/forest"] = file[f"{CLASSIFIER}/Forest0001"]
        name = b"clazyflow.classifiers.vigraRfLazyflowClassifier\nVigraRfLazyflowClassifier\np1\n."
        replace(f"{CLASSIFIER}/pickled_type", name)(file)

    assert open_project(edited(change)).stages[0].forest.n_trees == 1


def test_names_and_colours_of_labels(edited: Edit) -> None:
    def change(file: h5py.File) -> None:
        replace("PixelClassification/LabelNames", ["Zellkern ä", "b", "c"])(file)
        replace("PixelClassification/LabelColors", [[1, 2, 3], [256, 0, 0]])(file)

    stage = open_project(edited(change)).stages[0]
    assert stage.class_names == ("Zellkern ä", "b", "c")
    assert stage.class_colors == ((1, 2, 3), (0, 130, 200), (230, 25, 75))


@pytest.mark.parametrize("value", [np.array([6.9e-310]), [b"Label 1", b"Label 2"]])
def test_placeholder_of_label_names_is_no_name(edited: Edit, value: Any) -> None:
    def change(file: h5py.File) -> None:
        replace("PixelClassification/LabelNames", value)(file)
        file["PixelClassification/LabelNames"].attrs["isEmpty"] = True

    assert open_project(edited(change)).stages[0].class_names == ("Label 1", "Label 2")


def odd_values() -> Iterator[Any]:
    yield from (3, -1.5, np.nan, True, "text", b"\xff\xfe", np.bytes_(b""), np.void(b"abc"), 1j, h5py.Empty("f8"))
    yield from (np.zeros(0), np.zeros((2, 3)), np.zeros((1, 1, 1), np.int64), np.array([b"a", b"\xff"]))
    yield np.zeros(3, [("a", "i4"), ("b", "S3")])
    yield np.array(["x", "y"], dtype=h5py.string_dtype())
    yield np.full(7, 2**63, np.uint64)
    yield h5py.SoftLink("/")


@pytest.mark.parametrize("path", NEEDED)
def test_odd_values_are_refused_or_read_but_never_leak(edited: Edit, path: str) -> None:
    for value in odd_values():
        refusal(edited(replace(path, value)))

    def make_group(file: h5py.File) -> None:
        del file[path]
        file.create_group(path)["x"] = 1

    def make_sequences(file: h5py.File) -> None:
        del file[path]
        file.create_dataset(path, shape=(2,), dtype=h5py.vlen_dtype(np.int32))[0] = [1, 2]

    def make_references(file: h5py.File) -> None:
        del file[path]
        file.create_dataset(path, data=file.ref, dtype=h5py.ref_dtype)

    for change in (make_group, make_sequences, make_references):
        refusal(edited(change))
