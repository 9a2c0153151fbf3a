"""What whole processes take at most: measured in fresh ones, since a process never gives its peak back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from pipeline.ilp_writer import TrainingImage, write_project
from tests.models import full_selection, grow_forest, make_stage

MIB = 1 << 20
ROOT = Path(__file__).parents[2]

RUN = """
import sys
from pipeline.progress import Progress
from pipeline.project import open_project
from pipeline.run import Request, run
from pipeline.volume import open_raw

request = Request(open_project(sys.argv[1]), open_raw(sys.argv[2], axes="zyx"), sys.argv[3], workers=2)
print(run(request, Progress()).voxels)
"""
SLICE = """
import sys
from pipeline import open_project, open_volume, predict

plane = predict(open_volume(sys.argv[2], axes="zyx"), open_project(sys.argv[1])).isel(z=500).compute(num_workers=2)
print(plane.size)
"""
PEAK = """
import json
from pipeline.memory import process_peak
print(json.dumps(process_peak()[2]))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with all features at two scales in 3-D."""
    path = tmp_path_factory.mktemp("project") / "deep.ilp"
    selection = full_selection((1.6, 3.5), in_2d=False)
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 30, (1000, selection.n_columns(1, 64))).astype(np.float32)
    stage = make_stage(grow_forest(rng, rows, trees=5, depth=6), selection)
    write_project(path, [stage], TrainingImage("raw.h5/exported_data", "zyx", (64, 64, 64)))
    return path


def peak_of(script: str, *arguments: object) -> tuple[int, int]:
    """What a script printed first, and the peak of its process in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", script + PEAK, *map(str, arguments)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *_, printed, peak = done.stdout.splitlines()
    return int(printed), int(json.loads(peak))


@pytest.mark.slow
def test_volume_of_256_cubed_on_two_threads_stays_below_1_gib(tmp_path: Path, project: Path) -> None:
    raw = zarr.create_array(tmp_path / "raw.zarr", shape=(256,) * 3, chunks=(64,) * 3, dtype="uint8")
    rng = np.random.default_rng(0)
    for z in range(0, 256, 64):
        raw[z : z + 64] = rng.integers(0, 255, (64, 256, 256), dtype=np.uint8)
    voxels, peak = peak_of(RUN, project, tmp_path / "raw.zarr", tmp_path / "out.zarr")
    assert voxels == 256**3
    assert peak < 1024 * MIB


@pytest.mark.slow
def test_slice_of_1024_cubed_stays_below_500_mib(tmp_path: Path, project: Path) -> None:
    zarr.create_array(tmp_path / "raw.zarr", shape=(1024,) * 3, chunks=(64,) * 3, dtype="uint8", fill_value=7)
    voxels, peak = peak_of(SLICE, project, tmp_path / "raw.zarr")
    assert voxels == 3 * 1024**2
    assert peak < 500 * MIB
