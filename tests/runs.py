"""Runs on golden projects and their inputs, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import settings
from pipeline.progress import Progress
from pipeline.project import open_project
from pipeline.run import Request, run
from pipeline.summary import Summary
from pipeline.volume import Volume, open_raw

# Project, its input, and the axes that golden values have before their classes.
GOLDEN = {
    "pc_2d": ("in_2d_u8", "yx"),
    "pc_2d_old": ("in_2d_u8", "yx"),
    "pc_2d3c": ("in_2d3c_u8", "yx"),
    "pc_missing_class": ("in_2d_u8", "yx"),
    "pc_3d": ("in_3d_u8", "zyx"),
    "pc_3d_mixed": ("in_3d_u16", "zyx"),
    "pc_t_2d": ("in_t_u8", "tyx"),
    "pc_t_3d": ("in_t3d_f32", "tzyx"),
    "pc_xy_order": ("in_2d_u8", "xy"),
    "ac_2d": ("in_2d_u8", "yx"),
}


def open_input(golden_dir: Path, project: str) -> Volume:
    """The volume that a golden project is predicted on."""
    name, axes = GOLDEN[project]
    given = {"in_2d3c_u8": "yxc"}.get(name, "yx" if axes == "xy" else axes)
    return open_raw(golden_dir / f"{name}.npy", axes=given)


def make_request(golden_dir: Path, path: Path, project: str = "pc_3d", **changes: Any) -> Request:
    """A request for a golden project; `changes` are further fields of it."""
    opened = open_project(golden_dir / "projects" / f"{project}.ilp")
    return Request(opened, open_input(golden_dir, project), path, **changes)


def run_quietly(request: Request) -> Summary:
    """Run without telling anybody."""
    return run(request, Progress())


def wait_for_schedulers(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set how long a scheduler may take to answer."""
    monkeypatch.setenv("VOXELFOREST_CONNECT_SECONDS", str(seconds))
    settings.cache_clear()
