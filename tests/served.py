"""Volumes and projects to serve, made for tests."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from distributed import Client

from numba_ops.warmup import warm_up
from pipeline.axes import ORDER, reorder
from pipeline.progress import Progress
from pipeline.project import Project
from pipeline.run import Request, run
from pipeline.serving.catalogue import Catalogue, ServedVolume
from pipeline.serving.engine import Engine
from pipeline.serving.layer import Layer
from pipeline.volume import open_raw
from tests.models import full_selection, grow_project

Array = npt.NDArray[Any]
DASK = [sys.executable, "-m", "dask"]
LOOPBACK = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]

# Axes and shapes that are no multiple of chunks of 16 voxels; one plane, several, time and channels.
CASES: Mapping[str, tuple[int, ...]] = {
    "yx": (70, 93),
    "zyx": (37, 50, 41),
    "tyx": (3, 45, 66),
    "czyx": (2, 21, 40, 35),
    "tczyx": (2, 2, 20, 33, 19),
}


def make_served(folder: Path, axes: str, shape: tuple[int, ...], dtype: str = "uint8") -> tuple[ServedVolume, Project]:
    """A volume in a file, and a small project that fits it."""
    rng = np.random.default_rng(len(axes))
    values = rng.integers(0, 255, shape).astype(dtype)
    np.save(folder / "raw.npy", values)
    volume = open_raw(folder / "raw.npy", axes=axes)
    deep = "z" in axes
    frames = reorder(values, axes, ORDER)[:, :, :12, :24, :24]
    project = grow_project(rng, frames, axes, [full_selection((0.7,), in_2d=not deep)])
    return ServedVolume("raw", volume, ("pc",)), project


def make_catalogue(folder: Path, axes: str = "zyx", **changes: Any) -> Catalogue:
    """A catalogue of one volume called raw and one project called pc."""
    served, project = make_served(folder, axes, changes.pop("shape", CASES[axes]), **changes)
    return Catalogue([served], {"pc": project})


def predicted_levels(catalogue: Catalogue, folder: Path) -> dict[str, list[Array]]:
    """All levels of all results of a run, by name."""
    project, served = catalogue.projects["pc"], catalogue.first
    names = ("probabilities", "segmentation", "uncertainty")
    run(Request(project, served.volume, folder / "out.zarr", outputs=names), Progress())
    root = zarr.open_group(folder / "out.zarr", mode="r")
    levels: dict[str, list[Array]] = {}
    for name in names:
        group = root[name]
        assert isinstance(group, zarr.Group)
        keys = sorted(key for key, _ in group.arrays())
        levels[name] = [np.asarray(group[key]) for key in keys]
    return levels


def corners(layer: Layer, level: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First and one past the last voxel of a level."""
    shape = layer.level(level).shape
    return (0,) * len(shape), shape


class Cluster:
    """A scheduler and worker processes of one thread each, which tests may kill and start anew.

    Parameters
    ----------
    stack : ExitStack
        Ends all processes.
    """

    def __init__(self, stack: contextlib.ExitStack) -> None:
        warm_up(lambda *_: None)
        self._stack = stack
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.start_scheduler()

    def start_scheduler(self) -> None:
        """Start it, at the same address each time."""
        self.scheduler = self._start("scheduler", "--port", self.address.rpartition(":")[2])

    def add_workers(self, count: int) -> None:
        """Start workers; `wait` knows when they are there."""
        self.workers += [self._start("worker", self.address, "--nthreads", "1", "--no-nanny") for _ in range(count)]

    def kill_worker(self) -> None:
        """Kill the one that has been there longest."""
        kill(self.workers.pop(0))

    def wait(self, workers: int) -> None:
        """Until so many workers are connected."""
        with Client(self.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)

    def count(self, prefix: str) -> int:
        """How often the scheduler saw a task of this kind finish."""

        def count(dask_scheduler: Any) -> int:
            return dask_scheduler.task_prefixes[prefix].state_counts["memory"]

        with Client(self.address, timeout=60, set_as_default=False) as client:
            return int(client.run_on_scheduler(count))

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [*DASK, *words, *LOOPBACK]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._stack.callback(kill, process)
        return process


def kill(process: subprocess.Popen[bytes]) -> None:
    """At once, and wait until it is gone."""
    process.kill()
    process.wait()


@contextlib.contextmanager
def running_scheduler(workers: int = 2) -> Iterator[Cluster]:
    """A scheduler and workers that are connected to it."""
    with contextlib.ExitStack() as stack:
        cluster = Cluster(stack)
        cluster.add_workers(workers)
        cluster.wait(workers)
        yield cluster


def probabilities_of(engine: Engine) -> Layer:
    return engine.catalogue.layer("raw", "probabilities")


def read_whole(engine: Engine, layer: Layer, level: int = 0) -> Array:
    return engine.read(layer, level, *corners(layer, level))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60  # on a machine that has much else to do
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
