"""How large detections are, and how far apart."""

from __future__ import annotations

import numpy as np

from pipeline.report.detections import Detections, Floats, Group
from pipeline.report.drawing import Frame, color, figure, label, mark, svg, table, tell
from pipeline.report.figures import legend
from pipeline.report.statistics import count_bins, measure_neighbours


def draw_sizes(found: Detections) -> str:
    """How large detections are."""
    sizes = found.table["size"].to_numpy(np.float64)
    low, high = float(sizes.min()), float(sizes.max())
    if len(sizes) < 2:
        return ""
    edges = np.geomspace(max(low, 1), max(high, low + 1, 2) * 1.0001, count_bins(len(sizes)) + 1)
    frame = Frame(530, 260, (float(np.log10(edges[0])), float(np.log10(edges[-1]))), (0, 1), left=16)
    parts = [_log_axis(frame)]
    for group in found.groups:
        counts = np.histogram(sizes[group.rows].clip(edges[0]), edges)[0]
        parts.append(_draw_steps(frame, np.log10(edges), counts, group, filled=group.number == found.groups[0].number))
    drawing = svg(frame.width, frame.height, f"Histogram of sizes from {tell(low)} to {tell(high)} voxels", *parts)
    return figure(
        drawing, "Sizes of detections in voxels, each curve scaled to its tallest step; the axis is logarithmic."
    )


def draw_neighbours(found: Detections) -> str:
    """How far detections are from the nearest other one of their group."""
    volume, unit = float(found.space.extent.prod()), found.space.short_unit
    measured = [(g, measure_neighbours(found.positions[g.rows], volume)) for g in found.groups]
    measured = [(g, n) for g, n in measured if len(n.distances)]
    if not measured:
        return mark("p", "Sizes and distances are drawn for two detections and more.", class_="soft")
    top = float(max(np.quantile(n.distances, 0.995) for _, n in measured)) or 1.0
    edges = np.linspace(0, top, count_bins(len(found)) + 1)
    frame = Frame(530, 260, (0, top), (0, 1), left=16)
    parts, rows = [frame.axes(f"distance to the nearest neighbour ({unit})", y_ticks=False)], []
    for group, near in measured:
        counts = np.histogram(near.distances.clip(0, top), edges)[0]
        parts.append(_draw_steps(frame, edges, counts, group, filled=group.number == found.groups[0].number))
        d = near.distances
        numbers = (d.mean(), np.median(d), d.min(), d.max(), near.expected, d.mean() / (near.expected or np.inf))
        rows.append((group.name, f"{len(d):,}", *(tell(float(n)) for n in numbers)))
    drawing = svg(frame.width, frame.height, f"Histogram of distances between nearest neighbours in {unit}", *parts)
    head = ("group", "detections", "mean", "median", "smallest", "largest", "at random", "mean / at random")
    caption = f"Distances to the nearest neighbour of the same group, in {unit}"
    explained = (
        "Distances to the nearest neighbour of the same group. “At random” is the mean that as many places "
        "without any order have in such a volume: below 1, detections come in clusters; above 1, they keep apart."
    )
    pictures = mark("div", draw_sizes(found), figure(drawing, explained), class_="row")
    return legend(found.groups) + pictures + table(head, rows, caption)


def _draw_steps(frame: Frame, edges: Floats, counts: Floats, group: Group, filled: bool) -> str:
    """A histogram, scaled to its tallest step."""
    across, up = np.repeat(edges, 2)[1:-1], np.repeat(counts / max(counts.max(), 1), 2)
    area = frame.line(across, up, f"area {color(group.number)}", closed=True) if filled else ""
    return area + frame.line(across, up, f"curve {color(group.number)}")


def _log_axis(frame: Frame) -> str:
    """A logarithmic axis of voxels."""
    parts = [frame.line(frame.x, (0, 0), "axis")]
    low, high = frame.x
    for power in range(int(np.floor(low)), int(np.ceil(high)) + 1):
        for factor in (1, 2, 5):
            value = float(np.log10(factor * 10.0**power))
            if low <= value <= high:
                across, down = frame.place(value, 0).tolist()
                parts += [mark("line", x1=across, x2=across, y1=down, y2=down + 4, class_="axis")]
                parts += [label(across, down + 16, tell(factor * 10.0**power), "middle", "tick")]
    middle = (frame.left + frame.width - frame.right) / 2
    return "".join([*parts, label(middle, frame.height - 4, "voxels", "middle")])
