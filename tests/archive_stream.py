"""An analysis of a volume that is made while it is asked for: how much memory all processes take together.

    python -m tests.archive_stream 12e9            # two channels of uint8, nomads-unsupervised, and the result pushed
    python -m tests.archive_stream 12e9 --read     # each voxel read once, and compared

No process ever holds the volume: the archive is a process of its own that makes each block from a tile.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from tests.archive_contents import Archive, Index
from tests.archive_server import serving

Array = npt.NDArray[Any]
TILE = 64
CHANNELS = ("PSD95", "Synapsin")
PLANE = (2048, 2048)  # voxels of a plane, (y, x), of volumes that are large enough
BLOB = 3  # half of an object's edge
LIMIT = 1536 << 20


def make_tile(channel: str) -> Array:
    """Noise, and a bright blob in the middle that both channels share."""
    tile = np.random.default_rng(CHANNELS.index(channel)).integers(0, 12, (TILE,) * 3, np.uint8)
    middle = slice(TILE // 2 - BLOB, TILE // 2 + BLOB)
    tile[middle, middle, middle] += np.random.default_rng(9).integers(150, 230, (2 * BLOB,) * 3, np.uint8)
    return tile


def cut(tile: Array, start: Index, stop: Index) -> Array:
    """A box of the volume that is this tile again and again."""
    return tile[np.ix_(*(np.arange(a, b) % TILE for a, b in zip(start, stop, strict=True)))]


def shape_of(nbytes: float) -> Index:
    """A volume of about so many bytes in all channels, (z, y, x), of whole tiles."""
    edge = math.ceil((nbytes / len(CHANNELS)) ** (1 / 3) / TILE) * TILE
    y, x = (min(edge, n) for n in PLANE)
    return max(round(nbytes / len(CHANNELS) / y / x / TILE), 1) * TILE, y, x


def serve(shape: Index) -> None:
    """Answer until the standard input ends."""
    archive = Archive()
    archive.add("col/exp", shape)
    for name in CHANNELS:
        archive.add_channel(f"col/exp/{name}", functools.partial(cut, make_tile(name)), "uint8")
    archive.add("out/results", shape)
    with tempfile.TemporaryFile() as target, serving(archive):
        held = np.memmap(target, np.uint8, "w+", shape=shape)  # on disk: it is as large as a channel
        archive.add_channel("out/results/All", held)
        print(archive.url, flush=True)
        sys.stdin.read()


def work(shape: Index, only_read: bool) -> dict[str, Any]:
    """Read, or analyse and push; what came out."""
    from pipeline.boss import BossArchive

    volumes = BossArchive().open("col", "exp")
    if only_read:
        for name, volume in volumes.items():
            tile = make_tile(name)
            for z in range(0, shape[0], TILE):
                for y in range(0, shape[1], 8 * TILE):
                    start, stop = (z, y, 0), (z + TILE, min(y + 8 * TILE, shape[1]), shape[2])
                    if not np.array_equal(volume[z : stop[0], y : stop[1]], cut(tile, start, stop)):
                        raise AssertionError(f"{name} differs in {start} to {stop}")
        return {"equal": True}
    from pipeline import analyses
    from pipeline.analyses.channels import ChannelSet

    folder = Path(os.environ["VOXELFOREST_DATA_DIR"]).parent / "results"
    result = analyses.get("nomads-unsupervised")(ChannelSet.of(volumes, origin_zyx=(0, 0, 0)), folder)
    BossArchive().push("out/results", "All", folder / result.volumes["All"], (0, 0, 0))
    return {"objects": result.objects, "tiles": math.prod(n // TILE for n in shape)}


def measure(nbytes: float, only_read: bool, folder: Path) -> dict[str, Any]:
    """Run it in processes of its own; the bytes that they took at most, together, without the archive."""
    shape = shape_of(nbytes)
    command = [sys.executable, "-m", "tests.archive_stream", str(nbytes), *(["--read"] if only_read else [])]
    server = subprocess.Popen([*command, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        url = server.stdout.readline().strip()
        settings = {"BOSS_URL": url, "BOSS_TOKEN": "writer", "DATA_DIR": str(folder / "data")}
        env = {**os.environ, **{f"VOXELFOREST_{name}": value for name, value in settings.items()}}
        begun = time.monotonic()
        worker = subprocess.Popen([*command, "--work"], env=env, stdout=subprocess.PIPE, text=True)
        assert worker.stdout is not None
        peak = 0
        while worker.poll() is None:
            peak = max(peak, _resident(worker.pid))
            time.sleep(0.1)
        said = worker.stdout.read()
        worker.stdout.close()
        if worker.returncode:
            raise RuntimeError(f"the work ended with {worker.returncode}")
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait()
        server.stdout.close()
    seconds = time.monotonic() - begun
    volume = {"shape": shape, "bytes": math.prod(shape) * len(CHANNELS)}
    return {**volume, "peak_bytes": peak, "seconds": round(seconds, 1), **json.loads(said.splitlines()[-1])}


def _resident(pid: int) -> int:
    """Resident bytes of a process and its children; what they share counts for each."""
    total = 0
    try:
        top = psutil.Process(pid)
        for process in (top, *top.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bytes", type=float)
    for option in ("--read", "--serve", "--work"):
        parser.add_argument(option, action="store_true")
    given = parser.parse_args()
    if given.serve:
        serve(shape_of(given.bytes))
    elif given.work:
        print(json.dumps(work(shape_of(given.bytes), given.read)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(given.bytes, given.read, Path(folder))
        print(json.dumps(found))
        sys.exit(found["peak_bytes"] > LIMIT)


if __name__ == "__main__":
    main()
