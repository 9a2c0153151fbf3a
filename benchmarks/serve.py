"""A server under load: panning viewers, chunks, a stampede, a cold slice, overload. ``python -m benchmarks.serve``.

The server is the command in a process of its own; load comes from wrk, a generator in C (Debian's package wrk), over
loopback. Both share the machine's cores, so a figure says what is left for a server beside its clients. Every answer's
status counts, and bodies are sampled while the load runs and compared with those from before it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import harness, machine, ours, peers
from benchmarks.cases import Case, image, train, write_case
from pipeline.blocks import Box

CASES = (Case("small-3d", "shallow"), Case("mid-3d", "ordinary"))  # all load goes to the first
SHAPES = {"full": (128, 768, 768), "quick": (128, 512, 512), "tiny": (40, 96, 96)}
SECONDS = {"full": 60, "quick": 10, "tiny": 1}
VIEWERS = {"full": 200, "quick": 200, "tiny": 4}
CROWD = {"full": 500, "quick": 200, "tiny": 20}
PACE_MS = 250  # of a viewer who pans: four requests a second
MIB = 2**20


@dataclass(frozen=True)
class Served:
    """A running server."""

    url: str
    process: subprocess.Popen[str]

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of one request."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=120) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def document(self, path: str) -> Any:
        """A body as JSON."""
        return json.loads(self.get(path)[1])

    def resident_bytes(self) -> int:
        """Memory of the command and all of its processes."""
        root = psutil.Process(self.process.pid)
        family = [root, *root.children(recursive=True)]
        return sum(process.memory_info().rss for process in family if process.is_running())


def measure(size: str) -> Mapping[str, Any]:
    """All parts in turn, on a server of one volume and one project."""
    if shutil.which("wrk") is None:
        sys.exit("benchmarks.serve needs the load generator wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = ours.write_image(folder / "raw.zarr", image(CASES[0], SHAPES[size])[0], "zyx")
        slices = [_first_slice(case, raw, size, folder) for case in CASES]
        with _serving(write_case(CASES[0], folder), raw, folder) as served:
            layers = "/api/v1/volumes/raw/layers"
            digest = {name: served.document(f"{layers}/{name}")["digest"] for name in ("raw", "probabilities")}
            crowd = _stampede(served, digest["probabilities"], size)
            tiles = [
                f"/data/raw/raw/{digest['raw']}/tiles/0/{z}/{y}/{x}.png" for z, y, x in _places(size, (1, 256, 256))
            ]
            chosen = tiles[:: max(len(tiles) // 400, 1)]
            panning = _load(served, folder, chosen, VIEWERS[size], PACE_MS, SECONDS[size])
            chunks = [
                f"/data/raw/probabilities/{digest['probabilities']}/zarr/0/c/0/{z}/{y}/{x}"
                for z, y, x in _places(size, (64, 64, 64))
            ][:64]
            blocks = _load(served, folder, chunks, 8, 0, SECONDS[size] // 2 or 1)
            overload = _overload(served, folder, size)
    return {
        "shape": SHAPES[size],
        "slices": slices,
        "stampede": crowd,
        "panning": panning,
        "chunks": blocks,
        **overload,
    }


@contextlib.contextmanager
def _serving(project: Path, raw: Path, folder: Path) -> Iterator[Served]:
    command = [str(Path(sys.executable).with_name("voxelforest")), "serve", str(project), str(raw), "--port", "0"]
    environment = {**ours_environment(), "VOXELFOREST_DATA_DIR": str(folder / "data")}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line.startswith("listening on "):
                raise RuntimeError((folder / "server.log").read_text()[-2000:])
            yield Served(line.removeprefix("listening on ").strip(), process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def ours_environment() -> dict[str, str]:
    """The environment without settings of ours."""
    import os

    return {name: value for name, value in os.environ.items() if not name.startswith("VOXELFOREST_")}


def _places(size: str, step: Sequence[int]) -> list[tuple[int, int, int]]:
    """Numbers of the whole chunks of a grid over the volume, in C order."""
    z, y, x = (n // s for n, s in zip(SHAPES[size], step, strict=True))
    return [(i, j, k) for i in range(max(z, 1)) for j in range(max(y, 1)) for k in range(max(x, 1))]


def _load(
    served: Served, folder: Path, paths: Sequence[str], connections: int, pace_ms: int, seconds: int
) -> dict[str, Any]:
    """Requests for paths that are warm, with bodies sampled meanwhile."""
    for path in paths:
        status, _ = served.get(path)
        if status != 200:
            raise RuntimeError(f"{path} answers {status}")
    sample = random.Random(0).sample(list(paths), min(20, len(paths)))
    before = {path: served.get(path)[1] for path in sample}
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(_run_wrk, served, folder, paths, connections, pace_ms, seconds)
        compared = wrong = 0
        while not load.done():
            path = sample[compared % len(sample)]
            wrong += served.get(path)[1] != before[path]
            compared += 1
            time.sleep(0.1)
    return {**load.result(), "connections": connections, "compared": compared, "wrong": wrong}


def _run_wrk(
    served: Served, folder: Path, paths: Sequence[str], connections: int, pace_ms: int, seconds: int
) -> dict[str, Any]:
    (folder / "paths.txt").write_text("\n".join(paths))
    environment = {**ours_environment(), "PATHS": str(folder / "paths.txt"), "PACE_MS": str(pace_ms)}
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "60s",
        "-s",
        str(Path(__file__).with_name("pan.lua")),
    ]
    done = subprocess.run([*command, served.url], capture_output=True, text=True, env=environment, check=True)
    found = re.search(r"^JSON (\{.*\})$", done.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(done.stdout + done.stderr)
    result: dict[str, Any] = json.loads(found[1])
    return {**result, "rate": result["requests"] / result["seconds"]}


def _first_slice(case: Case, raw: Path, size: str, folder: Path) -> dict[str, Any]:
    """Seconds of the first plane that a new server is asked for, over HTTP, and what vigra's forest takes for it."""
    z, y, x = SHAPES[size]
    edge = min(512, y, x)
    path = f"/api/v1/volumes/raw/layers/probabilities/roi?z={z // 2}&y=0:{edge}&x=0:{edge}&format=npy"
    project = write_case(case, folder)
    with _serving(project, raw, folder) as served:
        started = time.perf_counter()
        status, body = served.get(path)
        seconds = time.perf_counter() - started
    found = {"selection": case.selection, "depth": case.depth, "status": status, "bytes": len(body), "edge": edge}
    return {**found, "seconds": seconds, "vigra_us_per_row": _vigra_us(case, project, size, folder)}


def _vigra_us(case: Case, project: Path, size: str, folder: Path) -> float | None:
    """Microseconds that vigra's forest takes for a voxel of a plane, on one core; None where there is no vigra."""
    with harness.pinned(1) as cores, peers.open_vigra(cores) as vigra:
        if vigra is None:
            return None
        values, (depth, height, width) = image(case, SHAPES[size]), SHAPES[size]
        plane = Box((0, depth // 2, 0, 0), (1, depth // 2 + 1, min(512, height), min(512, width)))
        features = ours.compute_features_of(ours.build_model(case, depth), values, plane)
        np.save(folder / "rows.npy", np.ascontiguousarray(features.reshape(len(features), -1).T))
        groups = train(case).forest.n_groups
        seconds = vigra.ask("forest", rows=str(folder / "rows.npy"), project=str(project), groups=groups)
        return 1e6 * seconds / plane.size


def _stampede(served: Served, digest: str, size: str) -> dict[str, Any]:
    """Many at once ask for one chunk that nobody has."""
    last = _places(size, (64, 64, 64))[-1]
    path = f"/data/raw/probabilities/{digest}/zarr/0/c/0/" + "/".join(map(str, last))
    before = served.document("/api/v1/cache")["numbers"]["misses"]
    gate = threading.Barrier(CROWD[size])

    def ask(_: int) -> tuple[int, bytes]:
        gate.wait()
        return served.get(path)

    with ThreadPoolExecutor(CROWD[size]) as pool:
        answers = list(pool.map(ask, range(CROWD[size])))
    computed = served.document("/api/v1/cache")["numbers"]["misses"] - before
    statuses = Counter(str(status) for status, _ in answers)
    return {"requests": CROWD[size], "computations": computed, "bodies": len(set(answers)), "statuses": dict(statuses)}


def _overload(served: Served, folder: Path, size: str) -> dict[str, Any]:
    """Regions that are never the same, from many more clients than the server can satisfy; then one viewer."""
    z, y, x = SHAPES[size]
    edge = min(192, y // 2, x // 2)
    chance = random.Random(1)
    paths = []
    for _ in range(20_000):
        a, b, c = chance.randrange(z), chance.randrange(y - edge), chance.randrange(x - edge)
        paths.append(
            f"/api/v1/volumes/raw/layers/probabilities/roi?z={max(a - 32, 0)}:{a + 1}&y={b}:{b + edge}&x={c}:{c + edge}"
            "&format=raw"
        )
    resident = [served.resident_bytes()]
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(_run_wrk, served, folder, paths, 100, 0, SECONDS[size])
        while not load.done():
            resident.append(served.resident_bytes())
            time.sleep(0.2)
    ended, recovered = time.perf_counter(), None
    while time.perf_counter() - ended < 60:
        started = time.perf_counter()
        status, _ = served.get(f"/api/v1/volumes/raw/layers/uncertainty/roi?z=0&y=0:{edge}&x=0:{edge}&format=npy")
        if status == 200 and time.perf_counter() - started < 2:
            recovered = time.perf_counter() - ended
            break
    memory = {"before_mib": resident[0] / MIB, "most_mib": max(resident) / MIB}
    return {"overload": {**load.result(), **memory, "recovered_seconds": recovered}}


def main() -> None:
    """Measure, print, and keep what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description="Load on a server over loopback.")
    parser.add_argument("--size", choices=harness.SIZES, default="quick")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    chosen = parser.parse_args()
    document = {"question": "serve", "size": chosen.size, "machine": machine.describe(), **measure(chosen.size)}
    chosen.out.mkdir(parents=True, exist_ok=True)
    harness.save(chosen.out / "serve.json", document)
    print(json.dumps(harness.clean(document), indent=2))


if __name__ == "__main__":
    main()
