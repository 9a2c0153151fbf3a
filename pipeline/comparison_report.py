"""What a comparison found, as tables, as one JSON-ready dictionary, and as a picture of the worst place."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.comparison import THRESHOLDS, Comparison, Place, named_lengths
from pipeline.description import Section
from pipeline.durability import write_errors, write_file
from pipeline.errors import StoreError
from pipeline.volume import Volume

PICTURE_PIXELS = 512  # along each side: what is shown of larger planes lies around the worst place


def describe(comparison: Comparison) -> tuple[Section, ...]:
    """The comparison as tables."""
    rows = [
        ("ours", _side(comparison.ours, comparison.divisors[0])),
        ("theirs", _side(comparison.theirs, comparison.divisors[1])),
        ("largest difference", f"{comparison.maximum:.6g}"),
        ("mean difference", f"{comparison.mean:.6g}"),
        *((f"{q:.1%} differ by at most", f"{value:.4g}") for q, value in comparison.quantiles.items()),
        *((f"differ by {_limit(comparison, t)}", _share(n, comparison.values)) for t, n in comparison.reached.items()),
    ]
    if comparison.agreeing is not None:
        rows.append(("same largest channel", _share(comparison.agreeing, comparison.voxels)))
    rows.append((f"tolerance {comparison.tolerance.name}", "kept" if comparison.within else "not kept"))
    sections = [Section("Comparison", (), tuple(rows))]
    if comparison.worst:
        worst = [
            (_coordinates(comparison, place), f"{place.ours:.7g}", f"{place.theirs:.7g}", f"{place.difference:.6g}")
            for place in comparison.worst
        ]
        sections.append(Section("Worst places", ("at", "ours", "theirs", "difference"), tuple(worst)))
    return tuple(sections)


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """The same for programs; what is not finite becomes null."""
    return {
        "ours": _side_document(comparison.ours, comparison.divisors[0]),
        "theirs": _side_document(comparison.theirs, comparison.divisors[1]),
        "values": comparison.values,
        "max": _finite(comparison.maximum),
        "mean": _finite(comparison.mean),
        "quantiles": {f"{q:g}": _finite(value) for q, value in comparison.quantiles.items()},
        "differ_by": {_limit(comparison, t): n for t, n in comparison.reached.items()},
        "argmax_agreement": None if comparison.agreeing is None else comparison.agreeing / comparison.voxels,
        "worst": [
            {
                "at": _by_axis(comparison, place),
                "ours": _finite(place.ours),
                "theirs": _finite(place.theirs),
                "difference": _finite(place.difference),
            }
            for place in comparison.worst
        ],
        "tolerance": comparison.tolerance.name,
        "within": comparison.within,
    }


def check_picture(path: Path, overwrite: bool, inputs: Sequence[str]) -> None:
    """Refuse a picture that would replace something or has no place, before any work; inputs are never replaced.

    Raises
    ------
    StoreError
        Saying what is in the way.
    """
    if path.suffix != ".png":
        raise StoreError(f"the picture {path} does not end in .png")
    if not path.absolute().parent.is_dir():
        raise StoreError(f"the folder of the picture {path} does not exist")
    if os.path.realpath(path) in map(os.path.realpath, inputs):
        raise StoreError(f"the picture {path} is an input, which is never written to")
    if path.exists() and not overwrite:
        raise StoreError(f"the picture {path} exists; choose another name, or --overwrite it")


def draw(comparison: Comparison, path: Path) -> None:
    """Draw ours, theirs and the difference around the worst place, or around the middle where nothing differs.

    Raises
    ------
    WriteError
        If the picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    place = comparison.worst[0].index if comparison.worst else _middle(comparison.ours)
    low, high = _window(place, comparison.ours)
    sides = [_plane(v, place, low, high) / by for v, by in _sides(comparison)]
    with np.errstate(invalid="ignore"):
        apart = np.abs(sides[0] - sides[1])
    shown = [side[np.isfinite(side)] for side in sides]
    limits = {
        "vmin": min((float(s.min()) for s in shown if s.size), default=0.0),
        "vmax": max((float(s.max()) for s in shown if s.size), default=1.0),
    }
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    extent = (low[1] - 0.5, high[1] - 0.5, high[0] - 0.5, low[0] - 0.5)
    panels = [
        ("ours", sides[0], "gray", limits),
        ("theirs", sides[1], "gray", limits),
        ("difference", apart, "magma", {}),
    ]
    for axes, (title, values, colours, options) in zip(figure.subplots(1, 3), panels, strict=True):
        image = axes.imshow(values, cmap=colours, extent=extent, interpolation="nearest", **options)
        figure.colorbar(image, ax=axes, shrink=0.8)
        axes.set_title(title)
        if comparison.worst:
            axes.plot(place[4], place[3], "o", markersize=14, fillstyle="none", color="tab:red")
    figure.suptitle(" ".join(f"{a} = {place['tczyx'.index(a)]}" for a in "tcz" if a in _axes(comparison)))
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    with write_errors(path):
        write_file(path.absolute(), buffer.getvalue())


def _sides(comparison: Comparison) -> list[tuple[Volume, float]]:
    return list(zip((comparison.ours, comparison.theirs), comparison.divisors, strict=True))


def _middle(volume: Volume) -> tuple[int, ...]:
    t, z, y, x = (n // 2 for n in volume.whole.shape)
    return t, 0, z, y, x


def _window(place: tuple[int, ...], volume: Volume) -> tuple[list[int], list[int]]:
    """First and one past the last row and column that are shown."""
    lengths = volume.whole.shape[2:]
    low = [max(min(at - PICTURE_PIXELS // 2, n - PICTURE_PIXELS), 0) for at, n in zip(place[3:], lengths, strict=True)]
    return low, [min(a + PICTURE_PIXELS, n) for a, n in zip(low, lengths, strict=True)]


def _plane(volume: Volume, place: tuple[int, ...], low: list[int], high: list[int]) -> npt.NDArray[np.float64]:
    """A part of the plane (y, x) that a place lies in, of its channel alone."""
    key: dict[str, int | slice] = dict(zip("tcz", place, strict=False))
    key |= {axis: slice(a, b) for axis, a, b in zip("yx", low, high, strict=True)}
    values = volume[tuple(key[axis] for axis in volume.dims)]
    return values.reshape([b - a for a, b in zip(low, high, strict=True)]).astype(np.float64)


def _axes(comparison: Comparison) -> str:
    """The axes that either side has."""
    return "".join(a for a in "tczyx" if a in comparison.ours.dims + comparison.theirs.dims)


def _by_axis(comparison: Comparison, place: Place) -> dict[str, int]:
    return {a: n for a, n in zip("tczyx", place.index, strict=True) if a in _axes(comparison)}


def _coordinates(comparison: Comparison, place: Place) -> str:
    return " ".join(f"{a}={n}" for a, n in _by_axis(comparison, place).items())


def _side(volume: Volume, divisor: float) -> str:
    scaled = f", divided by {divisor:g}" if divisor != 1 else ""
    return f"{volume.url}: {named_lengths(volume)} {volume.dtype}{scaled}"


def _side_document(volume: Volume, divisor: float) -> dict[str, Any]:
    shape = dict(zip(volume.dims, volume.shape, strict=True))
    return {"url": volume.url, "shape": shape, "dtype": str(volume.dtype), "divided_by": divisor}


def _limit(comparison: Comparison, threshold: float) -> str:
    """A threshold in words; that of a number is the next float above it."""
    return f"{threshold:g} or more" if threshold in THRESHOLDS else f"more than {comparison.tolerance.name}"


def _share(number: int, of: int) -> str:
    return f"{number:,} of {of:,} ({number / of:.4%})"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
