"""What a segmentation did, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import summary
from pipeline.labelling import LabelSummary
from pipeline.summary import Summary


@dataclass(frozen=True)
class SegmentationSummary:
    """What a segmentation did.

    Parameters
    ----------
    run : Summary
    counts : mapping
        As `count_objects` gives it.
    table, preview : Path, optional
    """

    run: Summary
    counts: Mapping[str, Any]
    table: Path | None = None
    preview: Path | None = None


def count_objects(labels: LabelSummary) -> dict[str, Any]:
    """How many objects there are and why others were removed, as JSON values."""
    names = ("too_small", "too_large", "without_core", "cores_too_small", "cores_too_large")
    removed = {name: int(getattr(labels, name)) for name in names}
    return {"found": int(labels.found), "kept": int(labels.kept), "removed": removed, "said": str(labels)}


def to_dict(done: SegmentationSummary) -> dict[str, Any]:
    """The same as one JSON-ready dictionary."""
    return {
        **summary.to_dict(done.run),
        "objects": done.counts["kept"],
        "found": done.counts["found"],
        "removed": dict(done.counts["removed"]),
        "table": str(done.table) if done.table else None,
        "preview": str(done.preview) if done.preview else None,
    }


def describe(done: SegmentationSummary) -> list[str]:
    """What was written and how to look at it, as lines."""
    first, *rest = summary.describe(done.run)
    more = [f"  {name}: {path}" for name, path in (("table", done.table), ("preview", done.preview)) if path]
    return [first, f"  {done.counts['said']}", *rest[:-1], *more, rest[-1]]
