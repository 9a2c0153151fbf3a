import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import PlanError
from pipeline.project import Project, check_data, open_project
from tests.oracles import GOLDEN


def golden(name: str) -> Project:
    return open_project(GOLDEN / "projects" / f"{name}.ilp")


def refusal(name: str, dims: str, shape: tuple[int, ...], dtype: str | None = None) -> PlanError:
    with pytest.raises(PlanError) as caught:
        check_data(golden(name), dims, shape, dtype)
    return caught.value


def test_project_says_what_it_is() -> None:
    project = golden("pc_2d3c")
    assert (project.workflow, project.version, project.axes) == ("Pixel Classification", "1.4.1", "yxc")
    assert (project.shape, project.n_channels, project.n_planes) == ((60, 52, 3), 3, 1)
    for part in ("pc_2d3c.ilp", "Pixel Classification", "1.4.1", "yxc", "18 features", "13 trees", "Label 3"):
        assert part in repr(project)


def test_unknown_sizes_of_old_projects_are_none() -> None:
    old = replace(golden("pc_3d_mixed"), shape=None)
    assert old.n_channels is None
    assert old.n_planes is None
    assert golden("pc_2d_old").n_channels == 1  # no c axis


def test_equality_is_about_what_decides_results(tmp_path: Path) -> None:
    project = golden("pc_2d")
    shutil.copyfile(project.path, tmp_path / "copy.ilp")
    copy = open_project(tmp_path / "copy.ilp")
    assert copy == project
    assert hash(copy) == hash(project)
    assert copy.path != project.path
    assert len({project, copy, golden("pc_3d")}) == 2
    assert project != "pc_2d"


def test_digest_does_not_depend_on_machine_or_version() -> None:
    """A change of this value makes every stored run and URL stale."""
    assert golden("pc_small").digest.startswith("91d4dd42c6f60e310512c058b6a8ec76")


@pytest.mark.parametrize("part", ["column", "threshold", "child", "probability", "roots", "group"])
def test_digest_covers_every_array_of_the_forest(part: str) -> None:
    project = golden("pc_small")
    array = getattr(project.stages[0].forest, part).copy()
    array.ravel()[-1] += 1
    forest = replace(project.stages[0].forest, **{part: array})
    assert replace(project, stages=(replace(project.stages[0], forest=forest),)) != project


@pytest.mark.parametrize(
    "change",
    [
        {"features": replace(golden("pc_small").stages[0].features, compute_in_2d=None)},
        {"features": replace(golden("pc_small").stages[0].features, scales=(0.31, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0))},
        {"class_names": ("a", "b")},
        {"class_colors": ((1, 2, 3), (4, 5, 6))},
    ],
)
def test_digest_covers_features_and_classes(change: dict[str, Any]) -> None:
    project = golden("pc_small")
    assert replace(project, stages=(replace(project.stages[0], **change),)) != project


def test_project_travels_to_other_processes() -> None:
    project = golden("ac_2d")
    again = pickle.loads(pickle.dumps(project))
    assert again == project
    assert np.array_equal(again.stages[1].forest.threshold, project.stages[1].forest.threshold)


@pytest.mark.parametrize(
    ("name", "dims", "shape"),
    [
        ("pc_2d", "yx", (96, 80)),
        ("pc_2d", "cyx", (1, 96, 80)),
        ("pc_2d", "tyx", (5, 96, 80)),  # time is not checked
        ("pc_2d3c", "cyx", (3, 60, 52)),
        ("pc_3d", "zyx", (40, 40, 40)),
        ("pc_3d_mixed", "czyx", (1, 20, 40, 40)),
        ("pc_t_3d", "tczyx", (2, 1, 20, 40, 40)),
        ("ac_2d", "yx", (96, 80)),
    ],
)
def test_fitting_data_is_accepted(name: str, dims: str, shape: tuple[int, ...]) -> None:
    check_data(golden(name), dims, shape, "uint8")


@pytest.mark.parametrize(
    ("name", "dims", "shape", "code", "says"),
    [
        ("pc_2d", "yx", (96, 80, 3), "axes", "3 axes"),
        ("pc_2d", "zx", (96, 80), "axes", "'zx'"),
        ("pc_2d", "yxx", (96, 80, 1), "axes", "'yxx'"),
        ("pc_2d", "qyx", (1, 96, 80), "axes", "'qyx'"),
        ("pc_2d", "cyx", (3, 96, 80), "channels", r"3 channel\(s\).*trained on 1"),
        ("pc_2d3c", "yx", (96, 80), "channels", r"1 channel\(s\).*trained on 3"),
        ("pc_2d", "zyx", (1, 96, 80), "dimensions", "'zyx'.*'yx'"),
        ("pc_3d", "yx", (96, 80), "dimensions", "'yx'.*'zyx'"),
        ("pc_3d", "zyx", (10, 96, 80), "image_too_small", "scale 3.5 needs at least 14"),
        ("pc_2d", "yx", (96, 10), "image_too_small", "x=10"),
    ],
)
def test_data_that_does_not_fit_is_refused(name: str, dims: str, shape: tuple[int, ...], code: str, says: str) -> None:
    error = refusal(name, dims, shape)
    assert error.code == code
    assert pytest.raises(PlanError, match=says).matches(error)


def test_forest_of_another_number_of_features() -> None:
    project = open_project(GOLDEN / "malformed" / "feature_count.ilp")
    with pytest.raises(PlanError, match=r"7 columns.*trained on 6") as caught:
        check_data(project, "yx", (96, 80))
    assert caught.value.code == "feature_count"


def test_unknown_number_of_channels_is_found_out_by_the_forest() -> None:
    project = replace(golden("pc_2d3c"), shape=None)
    check_data(project, "cyx", (3, 96, 80))
    with pytest.raises(PlanError, match=r"12 columns for data of 2 channel\(s\)"):
        check_data(project, "cyx", (2, 96, 80))


@pytest.mark.parametrize(
    ("dtype", "works"), [("uint16", True), (">i2", True), ("float64", True), ("uint32", False), ("bool", False)]
)
def test_autocontext_asks_for_types_it_can_scale_probabilities_to(dtype: str, works: bool) -> None:
    if works:
        check_data(golden("ac_2d"), "yx", (96, 80), dtype)
    else:
        assert refusal("ac_2d", "yx", (96, 80), dtype).code == "dtype"
    check_data(golden("pc_2d"), "yx", (96, 80), dtype)


def test_opening_and_describing_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from pipeline.project import open_project\n"
        "from pipeline.description import describe, to_dict\n"
        "project = open_project(sys.argv[1])\n"
        "describe(project), to_dict(project)\n"
        "print([m for m in ('numba', 'dask', 'xarray', 'sklearn', 'zarr', 'skimage', 'scipy') if m in sys.modules])"
    )
    path = str(GOLDEN / "projects" / "pc_2d.ilp")
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
