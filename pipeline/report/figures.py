"""The pictures of measurements: brightness, its distribution and its correlation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.report.detections import Detections, Floats, Group
from pipeline.report.drawing import (
    DIVERGING,
    Frame,
    color,
    figure,
    hex_color,
    is_dark,
    label,
    mark,
    paint,
    picture,
    svg,
    table,
    tell,
    text,
)
from pipeline.report.statistics import (
    CLIP,
    MOST_REPRESENTATIVES,
    choose_representatives,
    correlate,
    estimate_density,
    explained_variance,
    order_alike,
)

SATURATED = 3.0  # standard deviations that have the strongest colour
CELL = 28.0
RIDGE = 46.0
LONGEST = 22  # characters of a name along an axis


def shorten(name: str) -> str:
    """A name that fits beside a picture; tables have the whole one."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def legend(groups: tuple[Group, ...]) -> str:
    """Which colour is which group."""
    items = (mark("li", mark("i", class_=color(g.number)), text(f"{g.name} ({len(g.rows):,})")) for g in groups)
    return mark("ul", *items, class_="legend")


def draw_means(found: Detections) -> str:
    """Mean score of every channel in all detections and in each class, as cells."""
    groups = [g for g in found.classes if len(found.measured_of(g))]
    if len(groups) < 2:
        return ""
    scores = np.array([found.scores(found.measured_of(g)).mean(axis=0) for g in groups])
    return figure(
        draw_cells(
            scores, [g.name for g in groups], list(found.channels), SATURATED / 2, "Mean score by class and channel"
        ),
        "Mean score of each channel: how many standard deviations a class lies above (red) or below (blue) the mean of "
        "all measured detections.",
    )


def tabulate_sums(found: Detections) -> str:
    """Mean, median and deviation of the measurements as they are in the table."""
    rows = []
    for k, name in enumerate(found.channels):
        for group in found.groups:
            column = found.sums[found.measured_of(group), k]
            if len(column):
                numbers = (column.mean(), np.median(column), column.std(), column.min(), column.max())
                rows.append((f"{name}, {group.name}", f"{len(column):,}", *(tell(float(n)) for n in numbers)))
    head = ("channel, class", "detections", "mean", "median", "deviation", "smallest", "largest")
    whole = table(head, rows, "Measurements, as the table of results has them")
    return mark("details", mark("summary", "Means and medians of every channel"), whole)


def draw_heat_map(found: Detections) -> str:
    """Scores of single detections, one row each, class by class."""
    if len(found.measured) < 2:
        return mark("p", "One detection was measured, so there is nothing to compare it with.", class_="soft")
    blocks, bounds = [], [0]
    for group in found.classes or found.groups:
        scores = found.scores(found.measured_of(group))
        share = len(scores) * MOST_REPRESENTATIVES // max(len(found.measured), MOST_REPRESENTATIVES)
        chosen = scores[choose_representatives(scores, max(share, 1))] if len(scores) else scores
        blocks.append(chosen[order_alike(chosen)])
        bounds.append(bounds[-1] + len(chosen))
    scores = np.concatenate(blocks)
    pixels = paint((scores / SATURATED + 1) / 2, DIVERGING)
    width, height, left, top = max(60.0 * len(found.channels), 240.0), 380.0, 110.0, 12.0
    parts = [picture(pixels, left, top, width, height)]
    for k, name in enumerate(found.channels):
        across = left + (k + 0.5) * width / len(found.channels)
        parts.append(_slanted(across, top + height + 14, shorten(name)))
    for group, low, high in zip(found.classes or found.groups, bounds, bounds[1:], strict=False):
        a, b = (top + height * n / bounds[-1] for n in (low, high))
        if high > low:
            parts.append(
                mark("rect", x=left - 7, y=a, width=5, height=max(b - a, 1), class_=f"bar {color(group.number)}")
            )
            parts.append(label(left - 12, (a + b) / 2 + 4, shorten(group.name), "end"))
    many = len(found.measured) > len(scores)
    sort = f"{len(scores):,} of {len(found.measured):,}, chosen far apart from each other" if many else "all"
    drawing = svg(
        left + width + 12, top + height + _slanted_room(found.channels), f"Heat map of scores, {sort}", *parts
    )
    caption = (
        f"One row for each detection that was measured ({sort}), one column for each channel; similar rows are "
        f"neighbours. Red is bright, blue is dark, full colour at {SATURATED:g} standard deviations."
    )
    return figure(drawing, caption)


def draw_distributions(found: Detections) -> str:
    """How scores are distributed: one line of curves for each channel."""
    if len(found.measured) < 2:
        return ""
    rows = len(found.channels)
    frame = Frame(760, RIDGE * (rows + 1) + 60, (-CLIP, CLIP), (0, 1), left=150, bottom=44)
    parts = [frame.axes("score (standard deviations from the mean of all)", y_ticks=False)]
    everything = found.scores(found.measured)
    groups = [(g, found.scores(found.measured_of(g))) for g in found.groups]
    for k, name in enumerate(found.channels):
        base = frame.height - frame.bottom - RIDGE * (rows - k - 1) - 2
        parts.append(mark("line", x1=frame.left, x2=frame.width - frame.right, y1=base, y2=base, class_="grid"))
        parts.append(label(frame.left - 10, base - 4, shorten(name), "end"))
        if np.ptp(everything[:, k]) == 0:
            across = frame.place(0.0, 0.0)[0]
            parts.append(mark("line", x1=across, x2=across, y1=base, y2=base - RIDGE, class_="curve c0"))
            continue
        curves = [(g, *estimate_density(s[:, k])) for g, s in groups if len(s) > 1 and np.ptp(s[:, k]) > 0]
        for group, places, density in curves:
            lane = Frame(frame.width, base, frame.x, (0, 1), left=frame.left, bottom=0, top=base - 1.35 * RIDGE)
            if group.number == found.groups[0].number:
                parts.append(lane.line(places, density / density.max(), f"area {color(group.number)}", closed=True))
            parts.append(lane.line(places, density / density.max(), f"curve {color(group.number)}"))
    names = ", ".join(found.channels)
    drawing = svg(frame.width, frame.height, f"Distributions of the scores of {names}", *parts)
    caption = (
        "Distribution of the scores in each channel, smoothed with a Gaussian of Scott's bandwidth; each curve is "
        f"scaled to its own height, and the filled one is of all detections. Scores beyond {CLIP:g} count at the ends."
    )
    return figure(drawing, caption, legend(found.groups))


def draw_correlations(found: Detections) -> str:
    """How channels are correlated over all detections and in each class."""
    figures = []
    for group in found.groups:
        scores = found.scores(found.measured_of(group))
        if len(scores) < 2:
            continue
        names = list(found.channels)
        cells = draw_cells(correlate(scores), names, names, 1.0, f"Correlation of channels, {group.name}")
        figures.append(figure(cells, f"{group.name}: Pearson's correlation over {len(scores):,} detections."))
    if not figures:
        return mark("p", "Correlations need at least two measured detections.", class_="soft")
    return mark("div", *figures, class_="row")


def draw_scree(found: Detections) -> str:
    """How much of the variation lies in few directions."""
    shares = explained_variance(found.scores(found.measured))
    if len(found.measured) < 2 or not shares.any():
        return ""
    frame = Frame(420, 240, (0.5, len(shares) + 0.5), (0, 1))
    parts = [frame.axes("direction", "share of the sum")]
    for k, share in enumerate(shares):
        (left, top), (right, bottom) = frame.place([k + 0.65, k + 1.35], [share, 0]).tolist()
        parts.append(mark("rect", x=left, y=top, width=right - left, height=bottom - top, class_="bar c1"))
    parts.append(frame.line(np.arange(len(shares)) + 1, np.cumsum(shares), "curve c2"))
    told = ", ".join(f"{share:.0%}" for share in shares)
    drawing = svg(frame.width, frame.height, f"Scree plot; shares of the directions: {told}", *parts)
    return figure(
        drawing, "Singular values of the scores as shares of their sum, and added up: few directions, few causes."
    )


def draw_cells(values: Floats, rows: list[str], columns: list[str], strongest: float, title: str) -> str:
    """Numbers as coloured cells.

    Parameters
    ----------
    values : ndarray, (rows, columns)
    rows, columns : list of str
    strongest : float
        What has the strongest colour, and its negative.
    title : str
    """
    left, top = 118.0, 6.0
    parts = []
    pixels = paint((values / strongest + 1) / 2, DIVERGING)
    for i, name in enumerate(rows):
        parts.append(label(left - 8, top + (i + 0.5) * CELL + 4, shorten(name), "end"))
        for k in range(len(columns)):
            across, down = left + k * CELL * 1.3, top + i * CELL
            shade = pixels[i, k]
            parts.append(
                mark("rect", x=across, y=down, width=CELL * 1.3 - 1, height=CELL - 1, fill=hex_color(shade))
                + label(
                    across + CELL * 0.65,
                    down + CELL / 2 + 4,
                    f"{values[i, k]:.2f}".replace("-0.00", "0.00"),
                    "middle",
                    "on-dark" if is_dark(shade) else "on-light",
                )
            )
    bottom = top + len(rows) * CELL
    parts += [_slanted(left + (k + 0.5) * CELL * 1.3, bottom + 14, shorten(name)) for k, name in enumerate(columns)]
    return svg(left + len(columns) * CELL * 1.3 + 12, bottom + _slanted_room(columns), title, *parts)


def _slanted(across: float, down: float, name: str) -> str:
    turned = f"rotate(-40 {across:.1f} {down:.1f})"
    return mark("text", text(name), x=across, y=down, text_anchor="end", transform=turned)


def _slanted_room(names: Sequence[str]) -> float:
    """Pixels that names along the lower edge take."""
    return 26 + 4.4 * max((len(shorten(name)) for name in names), default=0)
