"""The job that chaos happens to: a project with many features, a volume of any depth, and how it is computed."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zarr

from benchmarks.cases import Case, image, write_case
from pipeline.blocks import Box
from pipeline.plan import Plan
from pipeline.project import open_project
from pipeline.run import Request, make_plan
from pipeline.volume import open_raw
from tests.commands import start

CASE = Case("full-3d", "shallow")
CHUNK = 128  # edge of the volume's chunks, and the step of its depth
# Chunks of 64 x 64 x 64, two of which make a block: a few tenths of a second on one core.
ENVIRONMENT = {
    "VOXELFOREST_CHUNK_VOXELS": str(64**3),
    "VOXELFOREST_BLOCK_VOXELS": str(2 * 64**3),
    "VOXELFOREST_CONNECT_SECONDS": "30",  # for a cluster of which something has just been killed
}
DTYPE = "uint8"


@dataclass(frozen=True)
class Job:
    """A project and a volume.

    Parameters
    ----------
    project : Path
    raw : str
        Path or URL.
    """

    project: Path
    raw: str

    def start(self, out: str | Path, address: str) -> subprocess.Popen[str]:
        """Start the command on a cluster; it goes on with what is there."""
        how = ["--axes", "zyx", "--dtype", DTYPE, "--json", "--resume", "--scheduler", address]
        return start("predict", self.project, self.raw, out, *how, environment=ENVIRONMENT)

    def plan(self) -> Plan:
        """The plan that the command makes; the environment has to hold `ENVIRONMENT`."""
        project, volume = open_project(self.project), open_raw(self.raw, axes="zyx")
        return make_plan(Request(project, volume, "out.zarr", dtype=DTYPE))


def make_job(folder: Path, planes: int, edge: int) -> Job:
    """Write the project and a volume of so many planes of this edge, multiples of `CHUNK`; what is there is taken."""
    raw = folder / f"raw-{planes}.zarr"
    if raw.exists():
        return Job(write_case(CASE, folder), str(raw))
    shape = (planes, edge, edge)
    array = zarr.create_array(raw, shape=shape, chunks=(CHUNK,) * 3, dtype="u1")
    whole = image(CASE, shape)[0]
    for z in range(0, planes, CHUNK):
        array[z : z + CHUNK] = whole[z : z + CHUNK]
    return Job(write_case(CASE, folder), str(raw))


def readers_of(plan: Plan, chunk: Sequence[int]) -> list[Box]:
    """The blocks that read any voxel of a chunk of the volume, given by its index along z, y and x."""
    low = [0, *(CHUNK * i for i in chunk)]
    high = [1, *(CHUNK * (i + 1) for i in chunk)]
    found = []
    for block in plan.blocks():
        read = block.grow(plan.halo_zyx, plan.image)
        if all(a < h and b > n for a, b, n, h in zip(read.start, read.stop, low, high, strict=True)):
            found.append(block)
    return found


def chunk_key(raw: str, index: Sequence[int]) -> str:
    """Name of the file of a chunk of the volume."""
    return "/".join([raw, "c", *map(str, index)])
