"""What works on this machine and what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

import psutil
from packaging.requirements import Requirement

from pipeline.config import settings
from pipeline.description import Section
from pipeline.volume_description import readable_bytes

PACKAGES = ("voxelforest", "numpy", "numba", "dask", "distributed", "zarr", "h5py", "xarray", "scikit-learn")
FOR_DEVELOPERS = ("test", "dev", "notebooks")


def diagnose() -> tuple[tuple[Section, ...], dict[str, Any]]:
    """Versions, cores, memory, compiled kernels and extras, as tables and as one JSON-ready dictionary."""
    from numba_ops._jit import CACHE_FOLDER

    document = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "memory_free_bytes": psutil.virtual_memory().available,
        "task_memory_bytes": int(settings().task_memory),
        "kernel_cache": str(CACHE_FOLDER),
        "compiled_kernels": len(list(CACHE_FOLDER.rglob("*.nbc"))),
        "data_dir": str(settings().data_dir),
        "missing_by_extra": _missing_by_extra(),
    }
    return _sections(document), document


def _sections(document: dict[str, Any]) -> tuple[Section, ...]:
    free, total = (readable_bytes(document[key]) for key in ("memory_free_bytes", "memory_bytes"))
    compiled = document["compiled_kernels"]
    machine = (
        ("Python", f"{document['python']} on {document['platform']}"),
        ("cores", str(document["cores"])),
        ("memory", f"{free} free of {total}"),
        ("memory of one task, at most", readable_bytes(document["task_memory_bytes"])),
        ("compiled kernels", f"{compiled or 'none yet'} in {document['kernel_cache']}"),
        ("jobs, results, caches", document["data_dir"]),
    )
    extras = tuple(
        (name, f"missing: {', '.join(missing)}; pip install 'voxelforest[{name}]'" if missing else "installed")
        for name, missing in document["missing_by_extra"].items()
    )
    return (
        Section("Machine", (), machine),
        Section("Packages", (), tuple(document["packages"].items())),
        Section("Extras", (), extras),
    )


def _missing_by_extra() -> dict[str, list[str]]:
    """For each extra for users, which of its packages are not installed."""
    metadata = importlib.metadata.metadata("voxelforest")
    needs = [Requirement(text) for text in metadata.get_all("Requires-Dist") or []]
    extras = [name for name in metadata.get_all("Provides-Extra") or [] if name not in FOR_DEVELOPERS]
    missing = [need for need in needs if _version(need.name) == "missing"]
    return {
        extra: [need.name for need in missing if need.marker is not None and need.marker.evaluate({"extra": extra})]
        for extra in extras
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
