"""What a person, or a program, wants to know about a volume, and what predicting it would cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pipeline.description import Section
from pipeline.project import Project
from pipeline.volume import Volume

if TYPE_CHECKING:
    from pipeline.plan import Plan


def describe(volume: Volume, project: Project | None) -> tuple[tuple[Section, ...], dict[str, Any]]:
    """The volume, and with a project the plan of predicting it, as tables and as one JSON-ready dictionary.

    Raises
    ------
    PlanError
        If the project does not fit the volume.
    """
    document: dict[str, Any] = {
        "url": volume.url,
        "axes": volume.source_axes,
        "axes_reason": volume.axes_reason,
        "dims": volume.dims,
        "shape": list(volume.shape),
        "chunks": list(volume.chunks),
        "dtype": str(volume.dtype),
        "bytes": math.prod(volume.shape) * volume.dtype.itemsize,
        "spacing": volume.spacing,
        "units": volume.units,
        "digest": volume.digest,
    }
    sections = [_volume_section(volume, document)]
    if project is not None:
        from pipeline import plan as planning  # brings numba, which a volume alone can do without

        plan = planning.make(volume.whole, volume.n_channels, str(volume.dtype), volume.dims, project)
        document["plan"] = _plan_document(plan)
        sections.append(describe_plan(plan))
    return tuple(sections), document


def _volume_section(volume: Volume, document: dict[str, Any]) -> Section:
    spacing = [f"{axis} {step:g} {volume.units.get(axis, '')}".strip() for axis, step in volume.spacing.items()]
    return Section(
        "Volume",
        (),
        (
            ("url", volume.url),
            ("axes in the file", f"{volume.source_axes} ({volume.axes_reason})"),
            ("shape", _named(volume.dims, volume.shape)),
            ("stored chunks", _named(volume.dims, volume.chunks)),
            ("type", str(volume.dtype)),
            ("size", readable_bytes(document["bytes"])),
            ("voxel size", ", ".join(spacing) or "not stored"),
        ),
    )


def _plan_document(plan: Plan) -> dict[str, Any]:
    return {
        "halo_zyx": list(plan.halo_zyx),
        "block_tzyx": list(plan.block),
        "chunk_tzyx": list(plan.chunk),
        "tasks": plan.n_tasks,
        "task_bytes": plan.task_bytes,
        "read_bytes": plan.read_bytes,
        "output_bytes": plan.output_bytes,
    }


def describe_plan(plan: Plan) -> Section:
    """What predicting will take, as a table."""
    return Section(
        "Predicting probabilities",
        (),
        (
            ("halo (voxels on each side)", _named("zyx", plan.halo_zyx)),
            ("block of one task", _named("tzyx", plan.block)),
            ("tasks", f"{plan.n_tasks:,}"),
            ("memory of one task", readable_bytes(plan.task_bytes)),
            ("raw data read, halos included", readable_bytes(plan.read_bytes)),
            ("output before compression", readable_bytes(plan.output_bytes)),
        ),
    )


def _named(axes: str, lengths: tuple[int, ...]) -> str:
    return " ".join(f"{axis}={n}" for axis, n in zip(axes, lengths, strict=True))


def readable_bytes(n: int) -> str:
    """A size with a unit.

    Examples
    --------
    >>> readable_bytes(3 * 2**30)
    '3.0 GiB'
    """
    size = float(n)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError
