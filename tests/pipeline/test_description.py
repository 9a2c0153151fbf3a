import json
from dataclasses import replace

import pytest

from pipeline.description import describe, to_dict
from pipeline.project import Project, open_project
from tests.oracles import GOLDEN


def golden(name: str) -> Project:
    return open_project(GOLDEN / "projects" / f"{name}.ilp")


def test_tables_of_a_project() -> None:
    project, features, classes, forest = describe(golden("pc_3d_mixed"))
    assert ("trained axes", "zyxc") in project.rows
    assert ("trained shape", "12 × 48 × 44 × 1") in project.rows
    assert features.columns == ("feature", "σ 0.3", "σ 0.7", "σ 1", "σ 1.6", "σ 3.5", "σ 5", "σ 10")
    assert features.rows[0] == ("Gaussian Smoothing", "3D", "", "2D", "", "2D", "", "")
    assert classes.rows[0] == ("1", "Label 1", "#ffe119", "yes")
    assert forest.rows == (
        ("feature columns", "13"),
        ("trees", "10 in 2 group(s)"),
        ("nodes", str(golden("pc_3d_mixed").stages[0].forest.n_nodes)),
        ("halo (voxels on each side)", "z 7, y 14, x 14"),
    )


def test_every_row_fits_its_heads() -> None:
    for path in (GOLDEN / "projects").iterdir():
        for section in describe(open_project(path)):
            assert {len(row) for row in section.rows} == {len(section.columns) or 2}


def test_stages_are_told_apart() -> None:
    titles = [section.title for section in describe(golden("ac_2d"))]
    assert titles[:3] == ["Project", "Features, stage 1", "Classes, stage 1"]
    assert titles[-1] == "Forest, stage 2"
    assert len(to_dict(golden("ac_2d"))["stages"]) == 2


def test_untrained_classes_are_marked() -> None:
    classes = to_dict(golden("pc_missing_class"))["stages"][0]["classes"]
    assert [entry["trained"] for entry in classes] == [True, True, False, True, False]
    assert describe(golden("pc_missing_class"))[2].rows[2][3] == "no: probability 0"


def test_dictionary_is_json_and_complete() -> None:
    project = golden("pc_2d_old")
    data = json.loads(json.dumps(to_dict(project)))
    assert (data["axes"], data["shape"], data["n_channels"], data["digest"]) == ("yx", None, 1, project.digest)
    (stage,) = data["stages"]
    assert stage["features"]["compute_in_2d"] == [True] * 7
    assert stage["features"]["halo_zyx"] == [0, 20, 20]
    assert stage["forest"] == {"columns": 14, "groups": 2, "trees": 7, "nodes": project.stages[0].forest.n_nodes}


@pytest.mark.parametrize(("axes", "in_2d"), [("yx", True), ("zyx", False)])
def test_undecided_dimensions_follow_the_trained_image(axes: str, in_2d: bool) -> None:
    project = replace(golden("pc_2d_old"), axes=axes)
    assert to_dict(project)["stages"][0]["features"]["compute_in_2d"] == [in_2d] * 7
