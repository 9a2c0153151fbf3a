"""What the figures were measured on, in words that mean something elsewhere."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("voxelforest", "numpy", "numba", "llvmlite", "scipy", "scikit-image", "scikit-learn", "dask", "zarr")


def describe() -> dict[str, Any]:
    """Processor, caches, memory, system, versions and date; nothing that names this machine."""
    info = _processor()
    return {
        "processor": info.get("model name", platform.machine()),
        "family": "/".join(info.get(key, "?") for key in ("cpu family", "model", "stepping")),
        "vectors": next((name for name in ("avx512f", "avx2", "asimd") if name in info.get("flags", "").split()), "?"),
        "cores": len(os.sched_getaffinity(0)),
        "caches": _caches(),
        "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "load": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _processor() -> dict[str, str]:
    """Fields of the first processor; empty where there is no such file."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text(encoding="utf-8").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _caches() -> dict[str, str]:
    """Size of each data cache that the first core sees."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if (folder / "type").read_text().strip() != "Instruction":
            found[f"L{(folder / 'level').read_text().strip()}"] = (folder / "size").read_text().strip()
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
