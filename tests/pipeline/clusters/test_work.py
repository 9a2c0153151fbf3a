"""A plan's time on one core, within a factor of what was measured."""

from __future__ import annotations

from pathlib import Path

from pipeline.clusters.work import estimate_seconds
from pipeline.run import make_plan
from tests.runs import make_request


def test_estimate_grows_with_voxels_and_columns(golden_dir: Path, tmp_path: Path) -> None:
    plan = make_plan(make_request(golden_dir, tmp_path / "out.zarr"))
    per_voxel = estimate_seconds(plan) / plan.region.size
    assert 100e-9 < per_voxel < 5e-6
