"""Volumes, layers and projects as documents of the new API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from pipeline.errors import PlanError
from pipeline.project import Project, check_data
from pipeline.serving.catalogue import Catalogue
from pipeline.serving.layer import Layer, ServedVolume

DIALECTS = ("zarr", "zarr2", "precomputed")


def describe_volume(catalogue: Catalogue, served: ServedVolume) -> dict[str, Any]:
    """What a volume is, and what there is to see of it."""
    volume = served.volume
    return {
        "name": served.name,
        "dims": volume.dims,
        "shape": list(volume.shape),
        "dtype": str(volume.dtype),
        "spacing": dict(volume.spacing),
        "units": dict(volume.units),
        "projects": [name for name, project in catalogue.projects.items() if fits(served, project)],
        "layers": [layer.name for layer in _layers_or_raw(catalogue, served)],
    }


def describe_layer(layer: Layer) -> dict[str, Any]:
    """A layer with its levels and where it is to be read."""
    place = f"{quote(layer.volume.name)}/{layer.name}"
    urls = {dialect: f"/data/{place}/{layer.digest}/{dialect}/" for dialect in DIALECTS}
    query = f"?project={quote(layer.project_name)}" if layer.project_name else ""
    return {
        "name": layer.name,
        "volume": layer.volume.name,
        "project": layer.project_name,
        "digest": layer.digest,
        "dims": layer.dims,
        "shape": list(layer.levels[0].shape),
        "dtype": str(layer.dtype),
        "spacing": dict(layer.spacing),
        "units": dict(layer.units),
        "channels": _channels(layer.channel_names, layer.channel_colors),
        "value_range": layer.value_range,
        "levels": [
            {
                "level": level.index,
                "shape": list(level.shape),
                "chunk": list(level.chunk),
                "factors": list(level.factors),
                "exact": level.exact,
            }
            for level in layer.levels
        ],
        "urls": {**urls, "roi": f"/api/v1/volumes/{quote(layer.volume.name)}/layers/{layer.name}/roi{query}"},
    }


def describe_project(catalogue: Catalogue, name: str, project: Project) -> dict[str, Any]:
    """What a project was trained for, and the volumes that it fits."""
    last = project.stages[-1]
    return {
        "name": name,
        "workflow": project.workflow,
        "version": project.version,
        "axes": project.axes,
        "digest": project.digest,
        "classes": _channels(last.class_names, last.class_colors),
        "features": last.forest.n_columns,
        "trees": last.forest.n_trees,
        "volumes": [served.name for served in catalogue.volumes.values() if fits(served, project)],
    }


def fits(served: ServedVolume, project: Project) -> bool:
    """Whether a project can be applied to a volume."""
    volume = served.volume
    try:
        check_data(project, volume.dims, volume.shape, volume.dtype)
    except PlanError:
        return False
    return True


def _layers_or_raw(catalogue: Catalogue, served: ServedVolume) -> Sequence[Layer]:
    try:
        return catalogue.layers(served.name)
    except PlanError:  # its first project does not fit
        return [catalogue.layer(served.name, "raw")]


def _channels(names: Sequence[str], colors: Sequence[tuple[int, int, int]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "color": list(colors[number]) if number < len(colors) else None}
        for number, name in enumerate(names)
    ]
