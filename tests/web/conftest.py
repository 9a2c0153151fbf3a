"""Servers that many tests share: started once, each with a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server, serving


@pytest.fixture(scope="session")
def server_3d(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A 3-D volume of (z, y, x) = (37, 40, 38), uint8, with a project of three classes."""
    project, raw = golden_dir / "projects" / "pc_3d.ilp", golden_dir / "in_3d_u8.npy"
    small = {"VOXELFOREST_CHUNK_VOXELS": "4096", "VOXELFOREST_OLD_BLOCK_EDGE": "16"}
    with serving(project, raw, "--axes", "zyx", folder=tmp_path_factory.mktemp("3d"), environment=small) as server:
        yield server
