"""Starting: what an import costs and brings along, and how long the kernels compile, once on a machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.cases import Case, tissue, write_case

MODULES = (
    "pipeline",
    "pipeline.project",
    "pipeline.cli",
    "pipeline.plan",
    "numba_ops.features",
    "pipeline.lazy",
    "pipeline.run",
)
HEAVY = ("numba", "dask", "distributed", "xarray", "zarr", "sklearn", "scipy", "skimage", "matplotlib", "h5py")
PAIRS = {"full": 5, "quick": 3, "tiny": 1}
_LINE = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \|(\s*)(\S+)")
# Compiling is measured where everybody does it: before the first block.
_WARM_UP = "from numba_ops.warmup import warm_up; import time; t = time.perf_counter(); warm_up()"
_SLICE = """
import sys
from pipeline import open_project, open_volume, predict
raw = open_volume(sys.argv[2], axes="zyx")
predict(raw, open_project(sys.argv[1])).isel(z=0)[:, :32, :32].compute()
"""


def measure(size: str) -> Mapping[str, Any]:
    """Imports, commands and compilation."""
    rounds = PAIRS[size]
    with tempfile.TemporaryDirectory() as folder:
        project = write_case(Case("small-3d", "shallow"), Path(folder))
        volume = Path(folder, "volume.npy")
        np.save(volume, tissue().raw[:40, :40, :40])
        kernels = {} if size == "tiny" else {"NUMBA_CACHE_DIR": str(Path(folder, "kernels"))}
        compiling = _measure_compiling(kernels)
        commands: dict[str, harness.Contestant] = {
            "python": partial(_run, ["-c", "pass"]),
            "voxelforest info": partial(_run, ["-m", "pipeline.cli", "info", str(project)]),
            "a first slice": partial(_run, ["-c", _SLICE, str(project), str(volume)], kernels),
        }
        ran = harness.run_rounds(commands, rounds, 60.0, warm=list(commands))
    return {
        "imports": [_measure_import(name) for name in MODULES],
        "commands": {name: ran.median(name) for name in commands},
        "compiling": compiling,
    }


def _run(arguments: list[str], environment: Mapping[str, str] | None = None) -> float:
    """Seconds of a Python process from start to end."""
    started = time.perf_counter()
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, check=False, text=True, env=variables)
    passed = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"python {' '.join(arguments[:3])} failed: {done.stderr.strip()[-800:]}")
    return passed


def _measure_import(module: str) -> dict[str, Any]:
    """Seconds of an import, the costliest packages below it, and which heavy ones came along."""
    code = f"import {module}, sys, json; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, check=True, text=True)
    seconds: dict[str, float] = {}
    for own, _, _, name in _LINE.findall(done.stderr):
        package = name.split(".")[0]
        seconds[package] = seconds.get(package, 0.0) + int(own) / 1e6
    before = {name.split(".")[0] for name in sys.stdlib_module_names}
    foreign = {name: took for name, took in seconds.items() if name not in before and took >= 0.01}
    costly = sorted(foreign, key=foreign.__getitem__, reverse=True)[:6]
    return {
        "module": module,
        "seconds": _total(done.stderr, module),
        "heavy": json.loads(done.stdout),
        "costliest": {name: foreign[name] for name in costly},
    }


def _total(report: str, module: str) -> float:
    """Seconds of a module and everything below it, its parent package included."""
    tops = {name: int(total) / 1e6 for _, total, indent, name in _LINE.findall(report) if indent == " "}
    return tops.get(module, 0.0) + (tops.get(module.split(".")[0], 0.0) if "." in module else 0.0)


def _measure_compiling(environment: Mapping[str, str]) -> dict[str, float]:
    """Seconds of the warm-up with an empty cache, and of the same with a full one, imports apart."""
    found = {}
    for name in ("empty cache", "full cache"):
        done = subprocess.run(
            [sys.executable, "-c", f"{_WARM_UP}; print(time.perf_counter() - t)"],
            capture_output=True, check=True, text=True, env={**os.environ, **environment},
        )  # fmt: skip
        found[name] = float(done.stdout.split()[-1])
    return found


if __name__ == "__main__":
    harness.main("start", measure)
