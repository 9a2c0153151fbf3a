"""What works on this machine and what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from typing import Any

import psutil

from pipeline.config import settings
from pipeline.description import Section
from pipeline.volume_description import readable_bytes

PACKAGES = ("voxelforest", "numpy", "numba", "dask", "distributed", "zarr", "h5py", "xarray", "scikit-learn")


def diagnose() -> tuple[tuple[Section, ...], dict[str, Any]]:
    """Versions, cores, memory and compiled kernels, as tables and as one JSON-ready dictionary."""
    from numba_ops._jit import CACHE_FOLDER

    compiled = len(list(CACHE_FOLDER.rglob("*.nbc")))
    document = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "memory_free_bytes": psutil.virtual_memory().available,
        "task_memory_bytes": int(settings().task_memory),
        "kernel_cache": str(CACHE_FOLDER),
        "compiled_kernels": compiled,
    }
    machine = Section(
        "Machine",
        (),
        (
            ("Python", f"{document['python']} on {document['platform']}"),
            ("cores", str(document["cores"])),
            ("memory", f"{readable_bytes(document['memory_free_bytes'])} free of {readable_bytes(document['memory_bytes'])}"),
            ("memory of one task, at most", readable_bytes(document["task_memory_bytes"])),
            ("compiled kernels", f"{compiled} in {CACHE_FOLDER}" if compiled else f"none yet, {CACHE_FOLDER}"),
        ),
    )
    versions = Section("Packages", (), tuple(document["packages"].items()))
    return (machine, versions), document


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
