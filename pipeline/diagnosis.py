"""What works on this machine and what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

import psutil
from packaging.requirements import Requirement

from pipeline.config import settings, unknown_variables
from pipeline.description import Section
from pipeline.volume_description import readable_bytes

PACKAGES = ("voxelforest", "numpy", "numba", "dask", "distributed", "zarr", "h5py", "xarray", "scikit-learn")
FOR_DEVELOPERS = ("bench", "dev", "docs", "notebooks", "test")
# What an extra is for, in the order of setup.cfg; an extra without a line here is for developers.
PURPOSES = {
    "cloud": "s3:// and clusters on EC2",
    "formats": "N5, precomputed volumes, tables as Parquet",
    "boss": "volumes of the archive, boss://",
    "dashboard": "Dask's dashboard, --performance-report",
    "viewer": "Neuroglancer in the page; slices as pictures do without",
}


def diagnose(scheduler: str | None = None) -> tuple[tuple[Section, ...], dict[str, Any]]:
    """Versions, cores, memory, disk, compiled kernels and extras, as tables and as one JSON-ready dictionary.

    Parameters
    ----------
    scheduler : str, optional
        Also connect to this one, compare versions, and say what it has.

    Raises
    ------
    PlanError, ClusterError
        If the scheduler is not one, does not answer, or runs other versions.
    """
    from numba_ops._jit import CACHE_FOLDER

    data = settings().data_dir
    disk = psutil.disk_usage(str(next(folder for folder in (data, *data.parents) if folder.exists())))
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
        "data_dir": str(data),
        "disk_free_bytes": disk.free,
        "missing_by_extra": _missing_by_extra(),
        "unknown_variables": unknown_variables(),
        "scheduler": None if scheduler is None else _ask_scheduler(scheduler),
    }
    return _sections(document), document


def _ask_scheduler(scheduler: str) -> dict[str, Any]:
    """What a cluster has; connecting to it compares the versions."""
    from pipeline.cluster import connect

    with connect(scheduler) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        return {
            "name": scheduler,
            "address": client.scheduler.address if client.scheduler else "",
            "dashboard": client.dashboard_link or None,
            "workers": len(workers),
            "threads": sum(worker["nthreads"] for worker in workers),
            "memory_limit_bytes": sum(worker["memory_limit"] for worker in workers),
        }


def _sections(document: dict[str, Any]) -> tuple[Section, ...]:
    free, total = (readable_bytes(document[key]) for key in ("memory_free_bytes", "memory_bytes"))
    compiled = document["compiled_kernels"]
    machine = (
        ("Python", f"{document['python']} on {document['platform']}"),
        ("cores", str(document["cores"])),
        ("memory", f"{free} free of {total}"),
        ("memory of one task, at most", readable_bytes(document["task_memory_bytes"])),
        ("compiled kernels", f"{compiled or 'none yet'} in {document['kernel_cache']}"),
        ("jobs, results, caches", f"{document['data_dir']}, {readable_bytes(document['disk_free_bytes'])} free"),
    )
    extras = tuple(
        (name, f"missing: {', '.join(missing)}; pip install 'voxelforest[{name}]'" if missing else "installed", purpose)
        for name, purpose in PURPOSES.items()
        for missing in [document["missing_by_extra"][name]]
    )
    return (
        Section("Machine", (), machine),
        Section("Packages", (), tuple(document["packages"].items())),
        Section("Extras", ("extra", "", "for"), extras),
        *([Section("Variables", (), tuple(unknown.items()))] if (unknown := document["unknown_variables"]) else []),
        *([_scheduler_section(document["scheduler"])] if document["scheduler"] else []),
    )


def _scheduler_section(found: dict[str, Any]) -> Section:
    memory = readable_bytes(found["memory_limit_bytes"]) if found["memory_limit_bytes"] else "not limited"
    return Section(
        f"Scheduler {found['name']}",
        (),
        (
            ("versions", "the same as here"),
            ("workers", f"{found['workers']} with {found['threads']} threads"),
            ("memory of all workers", memory),
            ("dashboard", found["dashboard"] or "none"),
        ),
    )


def _missing_by_extra() -> dict[str, list[str]]:
    """For each extra for users, which of its packages are not installed; empty where all are."""
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
