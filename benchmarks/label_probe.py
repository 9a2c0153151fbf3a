"""One labelling in a process that does nothing else: ours in one of its ways, or dask-image's.

``python -m benchmarks.label_probe WAY MAP OUT CHUNK CORES...`` prints one object of JSON: seconds, objects, tasks by
step, and bytes that the process and its workers held with their imports and at most, summed. WAY is ``threads`` or
``processes`` (through the files of a run), ``lazy`` (`segment` in Python) or ``dask-image``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from subprocess import run as run_command
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from benchmarks.memory_probe import resident

SHARP = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class ArrayWriter:
    """Writes blocks of labels into an array of three dims."""

    path: str

    def __call__(self, box: Any, labels: npt.NDArray[np.uint64]) -> None:
        array = zarr.open_array(self.path, mode="r+")
        array[box.slices()[1:]] = labels[0]


def probe(
    way: str, volume: Path, out: Path, chunk: int, cores: Sequence[int], limit: float | None, sigma: float = 0.0
) -> dict[str, Any] | None:
    """Run in a fresh process on these cores; gives what it printed, None where it took more than `limit` seconds."""
    arguments = [way, str(volume), str(out), str(chunk), str(sigma), *map(str, cores)]
    command = [sys.executable, "-m", "benchmarks.label_probe", *arguments]
    try:
        done = run_command(command, check=False, capture_output=True, text=True, timeout=limit)
    except TimeoutExpired:
        return None
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed: {done.stderr.strip()[-800:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _run_files(scheduler: str, volume: str, out: str, chunk: int, sigma: float, workers: int) -> dict[str, Any]:
    from pipeline.cluster import connect
    from pipeline.labelling import choose_block, label_volume, plan_labels
    from pipeline.progress import BlockDone, Event, Progress
    from pipeline.thresholding import Thresholding
    from pipeline.volume import open_raw

    source = open_raw(volume, axes="zyx")
    settings = Thresholding(sigma_zyx=(sigma, sigma, sigma), drange=(0.0, 255.0))
    block = choose_block(source.whole, (1, chunk, chunk, chunk), settings, voxel_bytes=1)
    plan = plan_labels(source.whole, block, settings)
    zarr.create_array(out, shape=source.shape, chunks=(chunk,) * 3, dtype="uint64")
    done: dict[str, int] = {}

    def count(event: Event) -> None:
        if isinstance(event, BlockDone):
            done[event.name] = event.blocks_done

    with connect(scheduler, workers) as client, tempfile.TemporaryDirectory(dir=Path(out).parent) as scratch:
        base = dict([_load(), *client.run(_load).values()])
        started = time.perf_counter()
        writer = ArrayWriter(out)
        summary = label_volume(client, source, plan, Path(scratch), writer, key="bench", progress=Progress(count))
        seconds = time.perf_counter() - started
        peak = dict([_peak(), *client.run(_peak).values()])
        kept = sum(path.stat().st_size for path in Path(scratch).rglob("*") if path.is_file())
    tasks = {"blocks": plan.n_blocks, "levels": plan.tree.top, **done}
    held = {"base": sum(base.values()), "peak": sum(peak.values()), "scratch": kept}
    return {"seconds": seconds, "objects": summary.kept, "tasks": tasks, **held}


def _load() -> tuple[int, int]:
    """Process, and what it holds with all that a task imports and compiles."""
    from pipeline.labelling import label_frame
    from pipeline.thresholding import Thresholding

    label_frame(np.zeros((1, 9, 9, 9), np.float32), Thresholding())
    return os.getpid(), resident("VmRSS")


def _peak() -> tuple[int, int]:
    return os.getpid(), resident("VmHWM")


def _run_lazily(way: str, volume: str, out: str, chunk: int, sigma: float, workers: int) -> dict[str, Any]:
    import dask
    import dask.array

    stored = dask.array.from_zarr(volume)
    work: Callable[[], tuple[Any, Any]]
    if way == "lazy":
        import xarray

        from pipeline.lazy_labels import segment

        _load()
        prob = xarray.DataArray(stored, dims=list("zyx"))
        work = lambda: (segment(prob, sigma=sigma, min_size=0, max_size=2**62).data, None)  # noqa: E731
    else:
        from dask_image.ndmeasure import label

        work = lambda: label(stored >= 128)  # noqa: E731
    base, started = resident("VmRSS"), time.perf_counter()
    labels, n = work()
    graph = labels.dask if n is None else {**labels.dask, **n.dask}
    array = zarr.create_array(out, shape=labels.shape, chunks=(chunk,) * 3, dtype=labels.dtype)
    with dask.config.set(scheduler="threads", num_workers=workers):
        labels.rechunk((chunk,) * 3 if way != "lazy" else labels.chunks).store(array, lock=False)
    seconds = time.perf_counter() - started
    objects = int(max(int(np.max(np.asarray(array[z : z + chunk]))) for z in range(0, array.shape[0], chunk)))
    held = {"base": base, "peak": resident("VmHWM"), "scratch": 0}
    return {"seconds": seconds, "objects": objects, "tasks": {"graph": len(graph)}, **held}


def main() -> None:
    """The process itself."""
    way, volume, out, chunk, sigma, *cores = sys.argv[1:]
    os.sched_setaffinity(0, [int(core) for core in cores])
    if way in ("lazy", "dask-image"):
        found = _run_lazily(way, volume, out, int(chunk), float(sigma), len(cores))
    else:
        scheduler = {"threads": "threads", "processes": "local"}[way]
        found = _run_files(scheduler, volume, out, int(chunk), float(sigma), len(cores))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
