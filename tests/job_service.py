"""The job service in tests: an archive with a small volume, a plug-in analysis, requests, the runner's processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import SecretStr

from pipeline.jobs.estimate import Estimate
from pipeline.jobs.request import JobRequest, Submission
from tests.archive_contents import Archive

PLUGIN = Path(__file__).parent / "plugin"
SHAPE = (24, 48, 48)
THRESHOLD = 128
TOKEN = "f0rmT0kenOfTheTests"
FIELDS = {
    "pipeline": "bright-voxels",
    "col": "col",
    "exp": "exp",
    "z_range": "0, 24",
    "y_range": "0,48",
    "x_range": "0,48",
    "email": "ada@lab.example",
    "token": TOKEN,
}


def make_values() -> npt.NDArray[np.uint8]:
    """The voxels of the only channel, (z, y, x)."""
    return np.random.default_rng(7).integers(0, 256, SHAPE, dtype=np.uint8)


def make_archive() -> Archive:
    """``col/exp`` with one channel; ``out/results`` for what is pushed."""
    archive = Archive({TOKEN: "rw", "reader": "r", "writer": "rw", "stranger": ""})
    archive.add("col/exp", SHAPE)
    archive.add_channel("col/exp/raw", make_values())
    archive.add("out/results", SHAPE)
    return archive


def expected() -> npt.NDArray[np.uint8]:
    """What the analysis finds, (z, y, x), 0 or 255."""
    return np.where(make_values() >= THRESHOLD, 255, 0).astype(np.uint8)


def make_submission(number: int = 0, *, email: str | None = "ada@lab.example", token: str | None = TOKEN) -> Submission:
    """A submission for tests of the store; another number is another request."""
    request = JobRequest("bright-voxels", "http://archive", "col", "exp", (0, 24), (0, 48), (0, 48 + number), ("raw",))
    cost = Estimate(request.voxels, 1, request.voxels, 60.0, 1 << 28)
    secret = SecretStr(token) if token is not None else None
    return Submission(request, f"{number:064x}", cost, email, secret)


def environment(folder: Path, archive: Archive, **more: object) -> dict[str, str]:
    """Variables of the service's processes; `more` are settings without their prefix."""
    chosen = {
        "DATA_DIR": folder / "data",
        "BOSS_URL": archive.url,
        "BOSS_PUSH": "out/results",
        "BOSS_BLOCK_BYTES": 16**3,
        "BOSS_RETRIES": 2,
        "SECRET_KEY": "a key of the tests, long enough",
        "JOB_PAUSE_SECONDS": 0,
        **more,
    }
    return {f"VOXELFOREST_{name}": str(value) for name, value in chosen.items()}


@contextmanager
def runner(folder: Path, variables: Mapping[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """``voxelforest jobs run`` as a process, with the plug-in; what it writes on stderr goes to runner.log."""
    process = start_runner(folder, variables, *arguments)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()


def start_runner(folder: Path, variables: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    """The same, which the caller has to stop."""
    with (folder / "runner.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.jobs", "run", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **variables, "PYTHONPATH": path_of_plugin()},
            start_new_session=True,
        )


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.02)


def path_of_plugin() -> str:
    """``PYTHONPATH`` for processes that find the plug-in."""
    return os.pathsep.join([str(PLUGIN), *([os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else [])])
