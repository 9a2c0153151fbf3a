"""Where detections lie: a box that a reader turns, and views along each axis for those who cannot."""

from __future__ import annotations

import base64
import json

import numpy as np

from pipeline.report.detections import Detections, Floats, draw_lots
from pipeline.report.drawing import SEQUENTIAL, Frame, color, figure, mark, paint, picture, svg, table, tell, text
from pipeline.report.figures import legend

MOST_TURNED = 20_000  # detections that a browser turns without delay, and 190 kB of the page
MOST_DOTS = 1500  # of a view along an axis; more are counted in cells
CELLS = 128  # along the longer edge of a view
EDGE = 285.0  # pixels of the longest edge of the volume
THINNEST = 60.0
FULL = 65535


def draw_space(found: Detections) -> str:
    """The box to turn, with switches for classes; shown where scripts run."""
    space = found.space
    chosen = draw_lots(np.arange(len(found)), MOST_TURNED)
    longest = float(space.extent.max())
    shares = ((found.positions[chosen] - space.start) / longest)[:, ::-1].clip(0, 1)
    places = np.rint(shares * FULL).astype("<u2")
    lengths = [f"{axis} {tell(float(n))} {space.short_unit}" for axis, n in zip("xyz", space.extent[::-1], strict=True)]
    canvas = mark(
        "canvas",
        text(f"{len(chosen):,} detections in the volume; the views along each axis below show them without scripts."),
        data_places=base64.b64encode(places.tobytes()).decode(),
        data_groups=base64.b64encode(found.group_numbers[chosen].astype(np.uint8).tobytes()).decode(),
        data_edges=" ".join(f"{n:.6g}" for n in space.extent[::-1] / longest),
        data_names=json.dumps(lengths),
        data_colors=" ".join(color(number)[1:] for number in range(len(found.classes) + 1)),
        tabindex=0,
        role="img",
        aria_label=f"{len(chosen):,} detections in three dimensions. Arrow keys turn, plus and minus zoom.",
    )
    caption = (
        "Drag or use the arrow keys to turn, + and − (or Ctrl and the wheel) to zoom; nearer detections are larger."
    )
    if len(chosen) < len(found):
        caption += f" {len(chosen):,} of {len(found):,} are shown, drawn by lot."
    box = mark("div", canvas, _tools(found), class_="space")
    return mark("div", figure(box, caption), class_="needs-script")


def _tools(found: Detections) -> str:
    buttons = [
        mark("button", text(name), type="button", data_view=key)
        for key, name in (
            *(("reset", "Reset"), ("z", "Along z"), ("y", "Along y"), ("x", "Along x")),
            *(("nearer", "Nearer"), ("farther", "Farther")),
        )
    ]
    switches = [
        mark(
            "label",
            f'<input type="checkbox" checked data-group="{group.number}">',
            text(group.name),
            class_=color(group.number),
        )
        for group in found.classes
    ]
    return mark("div", *buttons, *switches, class_="tools")


def draw_views(found: Detections) -> str:
    """What is seen along z, y and x: dots of few, counts in cells of many."""
    views = [_draw_view(found, across, down, along) for across, down, along in ((2, 1, 0), (2, 0, 1), (1, 0, 2))]
    key = legend(found.classes or found.groups) if len(found) <= MOST_DOTS else ""
    return key + mark("div", *views, class_="row")


def _draw_view(found: Detections, across: int, down: int, along: int) -> str:
    space, axes = found.space, "zyx"
    scale = EDGE / float(space.extent.max())
    width, height = (max(float(space.extent[axis]) * scale, THINNEST) for axis in (across, down))
    ranges = [(float(space.start[axis]), float(space.start[axis] + space.extent[axis])) for axis in (across, down)]
    # Seen as in a picture: the first row is at the top.
    frame = Frame(width + 64, height + 52, ranges[0], (ranges[1][1], ranges[1][0]))
    seen = found.positions[:, [across, down]]
    if len(found) <= MOST_DOTS:
        places, numbers = frame.place(seen[:, 0], seen[:, 1]), found.group_numbers
        content = "".join(
            mark("circle", cx=x, cy=y, r=2.2, class_=f"dot {color(int(n))}")
            for (x, y), n in zip(places.tolist(), numbers, strict=True)
        )
        how = "one dot for each detection"
    else:
        content, most = _count(seen, ranges, (width, height), frame)
        how = f"up to {most:,} in one cell (yellow)"
    unit = space.short_unit
    outline = mark("rect", x=frame.left, y=frame.top, width=width, height=height, class_="box")
    title = f"{len(found):,} detections seen along {axes[along]}"
    drawing = svg(
        frame.width,
        frame.height,
        title,
        content,
        outline,
        frame.axes(f"{axes[across]} ({unit})", f"{axes[down]} ({unit})"),
    )
    return figure(drawing, f"Seen along {axes[along]}: {how}.")


def _count(seen: Floats, ranges: list[tuple[float, float]], size: tuple[float, float], frame: Frame) -> tuple[str, int]:
    cells = [max(round(CELLS * n / EDGE), 1) for n in size]
    places = [seen[:, k].clip(*ranges[k]) for k in (0, 1)]
    counts = np.histogram2d(places[1], places[0], cells[::-1], [ranges[1], ranges[0]])[0]
    most = float(counts.max())
    pixels = paint(counts / most, SEQUENTIAL)
    return picture(pixels, frame.left, frame.top, *size), int(most)


def tabulate_space(found: Detections) -> str:
    """Numbers of each group and how densely they lie."""
    # of voxels there are so many that a million of them is the handier measure
    volume, measure = float(found.space.extent.prod()), f"{found.space.short_unit}³"
    if found.space.unit == "voxel":
        volume, measure = volume / 1e6, "million voxels"
    rows = []
    for group in found.groups:
        sizes = found.table["size"].to_numpy(np.float64)[group.rows]
        middle = tell(float(np.median(sizes))) if len(sizes) else "–"
        share = f"{len(group.rows) / max(len(found), 1):.1%}"
        rows.append((group.name, f"{len(group.rows):,}", share, tell(len(group.rows) / volume), middle))
    head = ("group", "detections", "share", f"per {measure}", "median size (voxels)")
    return table(head, rows, "How many detections there are, and how densely they lie")
