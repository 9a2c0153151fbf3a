"""Made tables of detections as an analysis leaves them, and their pictures; shared by tests of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas

from pipeline.report import write_report

SHAPE = (60, 512, 700)
SPACING = (0.07, 0.1, 0.1)
CHANNELS = ("GABA", "GluN", "PSD", "synapsin")
CLASSES = ("edge", "non-GABA", "GABA")


def make_table(
    n: int, *, seed: int = 0, classes: Sequence[str] = CLASSES, channels: Sequence[str] = CHANNELS
) -> pandas.DataFrame:
    """Detections scattered over `SHAPE`; those of the last class are bright in the first channel."""
    rng = np.random.default_rng(seed)
    table: dict[str, Any] = {"id": np.arange(1, n + 1)}
    for axis, length in zip("zyx", SHAPE, strict=True):
        table[axis] = rng.integers(0, length, n)
    table["size"] = np.exp(rng.normal(4.5, 0.6, n)).astype(int) + 31
    kinds = rng.integers(0, max(len(classes), 1), n)
    if classes:
        table["class"] = np.array(classes, object)[kinds]
    table["measurable"] = rng.random(n) > 0.06 if n > 2 else np.ones(n, bool)
    for axis, spacing in zip("zyx", SPACING, strict=True):
        table[f"position_{axis}"] = (table[axis] + rng.random(n)) * spacing
    table["unit"] = "micrometer"
    for k, name in enumerate(channels):
        values = rng.normal(200, 90, n) + 300 * (k == 0) * (kinds == len(classes) - 1)
        table[f"sum_{name}"] = np.where(table["measurable"], values, np.nan)
    return pandas.DataFrame(table)


def draw(row: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """A spot as large as the detection."""
    y, x = np.ogrid[-20:21, -20:21]
    spot = 220 * np.exp(-(y**2 + x**2) / (row["size"] / 6))
    return np.stack([spot, np.roll(spot, 3, axis=1), spot], axis=-1).astype(np.uint8)


def write(path: Path, table: pandas.DataFrame, **options: Any) -> str:
    """Write a report of a table; returns the page."""
    given: dict[str, Any] = {
        "title": f"{len(table):,} detections",
        "parameters": {"legacy": "False", "channels": ", ".join(CHANNELS)},
        "thumbnails": draw,
        "shape_zyx": SHAPE,
        "spacing_zyx": SPACING,
        "unit": "micrometer",
    }
    write_report(table, path, **(given | options))
    return path.read_text("utf-8")
