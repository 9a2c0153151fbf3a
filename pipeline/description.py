"""What a person, or a program, wants to know about a project: plain data for tables and for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.features import FEATURE_LABELS
from pipeline.plan import build_stack
from pipeline.project import Project, Stage


@dataclass(frozen=True)
class Section:
    """A table: a title, the heads of its columns (empty for name and value pairs) and rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def describe(project: Project) -> tuple[Section, ...]:
    """The project as tables: its origin, then for each stage features × scales, classes and forest.

    Text comes from the file as it is: whoever prints it takes care of markup and control characters.
    """
    sections = [
        Section(
            "Project",
            (),
            (
                ("file", project.path),
                ("workflow", project.workflow),
                ("ilastik version", project.version),
                ("trained axes", project.axes),
                ("trained shape", "not stored" if project.shape is None else " × ".join(map(str, project.shape))),
                ("channels", "not stored" if project.n_channels is None else str(project.n_channels)),
                ("digest", project.digest),
            ),
        )
    ]
    for number, stage in enumerate(project.stages, start=1):
        suffix = f", stage {number}" if len(project.stages) > 1 else ""
        planes = _planes(project)
        sections += [_features(stage, planes, suffix), _classes(stage, suffix), _forest(stage, planes, suffix)]
    return tuple(sections)


def to_dict(project: Project) -> dict[str, Any]:
    """The same as one JSON-ready dictionary; `halo_zyx` in voxels, colours as #rrggbb."""
    return {
        "path": project.path,
        "workflow": project.workflow,
        "version": project.version,
        "axes": project.axes,
        "shape": None if project.shape is None else list(project.shape),
        "n_channels": project.n_channels,
        "digest": project.digest,
        "stages": [_stage_to_dict(stage, _planes(project)) for stage in project.stages],
    }


def _planes(project: Project) -> int:
    """Planes of the training image; where old projects do not say, any number above 1 gives the same answers."""
    return project.n_planes or 2


def _halo(stage: Stage, planes: int) -> tuple[int, int, int]:
    """Voxels (z, y, x) on each side that the stage's features need; the number of channels does not matter."""
    return build_stack(stage.features, 1, planes).halo_zyx


def _stage_to_dict(stage: Stage, planes: int) -> dict[str, Any]:
    features, forest = stage.features, stage.forest
    return {
        "features": {
            "ids": list(features.ids),
            "scales": list(features.scales),
            "matrix": [list(row) for row in features.matrix],
            "compute_in_2d": list(features.in_2d(planes)),
            "halo_zyx": list(_halo(stage, planes)),
        },
        "classes": [
            {"name": name, "color": _hex(color), "trained": label in forest.labels}
            for label, (name, color) in enumerate(zip(stage.class_names, stage.class_colors, strict=True), start=1)
        ],
        "forest": {
            "columns": forest.n_columns,
            "groups": forest.n_groups,
            "trees": forest.n_trees,
            "nodes": forest.n_nodes,
        },
    }


def _features(stage: Stage, planes: int, suffix: str) -> Section:
    selection = stage.features
    flags = selection.in_2d(planes)
    rows = [
        (FEATURE_LABELS[name], *(("2D" if flags[j] else "3D") if on else "" for j, on in enumerate(row)))
        for name, row in zip(selection.ids, selection.matrix, strict=True)
    ]
    return Section(f"Features{suffix}", ("feature", *(f"σ {scale:g}" for scale in selection.scales)), tuple(rows))


def _classes(stage: Stage, suffix: str) -> Section:
    rows = [
        (str(label), name, _hex(color), "yes" if label in stage.forest.labels else "no: probability 0")
        for label, (name, color) in enumerate(zip(stage.class_names, stage.class_colors, strict=True), start=1)
    ]
    return Section(f"Classes{suffix}", ("label", "name", "colour", "trained"), tuple(rows))


def _forest(stage: Stage, planes: int, suffix: str) -> Section:
    forest = stage.forest
    halo = ", ".join(f"{axis} {n}" for axis, n in zip("zyx", _halo(stage, planes), strict=True))
    return Section(
        f"Forest{suffix}",
        (),
        (
            ("feature columns", str(forest.n_columns)),
            ("trees", f"{forest.n_trees} in {forest.n_groups} group(s)"),
            ("nodes", str(forest.n_nodes)),
            ("halo (voxels on each side)", halo),
        ),
    )


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
