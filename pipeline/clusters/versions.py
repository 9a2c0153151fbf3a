"""Whether scheduler and workers run what this process runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distributed import Client

from pipeline.errors import ClusterError

# What must be the same everywhere: these decide results to the bit, or how tasks are written down for the wire.
MUST_MATCH = ("voxelforest", "numpy", "numba", "dask", "distributed")


def check_versions(client: Client, place: str) -> None:
    """Compare versions here with those of the scheduler, and of the workers that are there.

    Raises
    ------
    ClusterError
        With the code ``versions``, naming each package that differs, with both versions.
    """
    found = version_differences(client.get_versions(packages=list(MUST_MATCH)))
    if found:
        raise ClusterError(
            f"The scheduler or the workers of {place} run other versions, so results could differ: {'; '.join(found)}. "
            "Install the same set on both sides (constraints.txt).",
            code="versions",
        )


def version_differences(versions: Mapping[str, Any]) -> list[str]:
    """What scheduler or workers have in another version than this process, a phrase for each package.

    Parameters
    ----------
    versions : mapping
        As `distributed.Client.get_versions` returns it, asked for the packages of `MUST_MATCH`.
    """
    here = _exact(versions["client"])
    found: dict[str, set[str]] = {}
    for side in (versions["scheduler"], *versions["workers"].values()):
        for name, version in _exact(side).items():
            if version != here[name]:
                found.setdefault(name, set()).add(version)
    return [f"{name} {', '.join(sorted(there))} there, {here[name]} here" for name, there in found.items()]


def _exact(side: Mapping[str, Any]) -> dict[str, str]:
    packages = side["packages"]
    exact = {name: packages.get(name) or "missing" for name in MUST_MATCH}
    return {"Python": ".".join(packages["python"].split(".")[:2]), **exact}
