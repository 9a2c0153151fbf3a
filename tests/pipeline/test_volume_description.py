"""What is said about a volume and about predicting it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PlanError
from pipeline.project import open_project
from pipeline.volume import open_raw
from pipeline.volume_description import describe, readable_bytes
from tests.outputs import begin, make_spec, make_values, write_all


def test_volume_is_described_by_names_sizes_and_spacing(tmp_path: Path) -> None:
    spec = make_spec(spacing={"z": 2.0, "x": 0.5}, units={"z": "micrometer"})
    write_all(begin(tmp_path / "raw.zarr", spec), {"probabilities": make_values(spec)})
    (section,), document = describe(open_raw(tmp_path / "raw.zarr"), None)
    rows = {row[0]: row[1] for row in section.rows}
    assert rows["shape"] == "c=2 z=20 y=35 x=33"
    assert rows["stored chunks"] == "c=2 z=8 y=16 x=16"
    assert rows["axes in the file"] == "czyx (axes czyx, as the file names them)"
    assert "z 2 micrometer" in rows["voxel size"]
    assert json.loads(json.dumps(document)) == document
    assert document["bytes"] == 2 * 20 * 35 * 33 * 4
    assert "plan" not in document


def test_with_a_project_the_plan_of_predicting_is_told(golden_dir: Path) -> None:
    project = open_project(golden_dir / "projects" / "pc_3d.ilp")
    sections, document = describe(open_raw(golden_dir / "in_3d_u8.npy", axes="zyx"), project)
    rows = {row[0]: row[1] for row in sections[1].rows}
    assert document["plan"]["tasks"] == 1
    assert document["plan"]["output_bytes"] == 37 * 40 * 38 * 3 * 4
    assert rows["block of one task"] == "t=1 z=37 y=40 x=38"
    assert rows["memory of one task"] == readable_bytes(document["plan"]["task_bytes"])


def test_a_project_that_does_not_fit_is_refused(golden_dir: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "raw.npy", np.zeros((30, 30, 30, 2), np.uint8))
    project = open_project(golden_dir / "projects" / "pc_3d.ilp")
    with pytest.raises(PlanError, match=r"2 channel\(s\)"):
        describe(open_raw(tmp_path / "raw.npy", axes="zyxc"), project)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB"), (3 << 50, "3072.0 TiB")],
)
def test_sizes_are_told_in_the_unit_that_fits(size: int, text: str) -> None:
    assert readable_bytes(size) == text
