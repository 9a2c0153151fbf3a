"""What Jupyter shows for projects, plans and jobs: tables as the commands print them, blocks and progress drawn.

Names come from files, so all text is escaped; nothing is loaded and no script is needed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.description import Section

if TYPE_CHECKING:
    from pipeline.plan import Plan

_COLOR = re.compile(r"#[0-9a-f]{6}")
WIDTH = 220.0  # of a drawing, CSS pixels
_LINES = 200  # blocks along an axis that are still drawn one by one


def tables(sections: Sequence[Section]) -> str:
    """Sections as HTML tables, with a swatch beside each colour.

    Examples
    --------
    >>> tables([Section("A & B", (), (("name", "<i>"),))])
    '<h4>A &amp; B</h4><table><tbody><tr><td>name</td><td>&lt;i&gt;</td></tr></tbody></table>'
    """
    return "".join(_table(section) for section in sections)


def bars(title: str, rows: Sequence[tuple[str, int, int, str]]) -> str:
    """How far things are: a bar for each.

    Parameters
    ----------
    title : str
    rows : sequence of (str, int, int, str)
        Name, what is done, of how much, and what is said beside it.

    Examples
    --------
    >>> bars("", [("find", 1, 4, "3 s")])[23:]
    '<tr><td>find</td><td><progress max="4" value="1"></progress></td><td>3 s</td></tr></tbody></table>'
    """
    lines = (
        f"<tr><td>{html.escape(name)}</td>"
        f'<td><progress max="{max(whole, 1)}" value="{done if whole else 1}"></progress></td>'
        f"<td>{html.escape(said)}</td></tr>"
        for name, done, whole, said in rows
    )
    return f"<h4>{html.escape(title)}</h4><table><tbody>{''.join(lines)}</tbody></table>"


def _table(section: Section) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in section.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{_cell(text)}</td>' for text in row)}</tr>" for row in section.rows)
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f"<h4>{html.escape(section.title)}</h4><table>{top}<tbody>{rows}</tbody></table>"


def _cell(text: str) -> str:
    if _COLOR.fullmatch(text):
        return f'<span style="background:{text};padding:0 0.6em;margin-right:0.4em"></span>{text}'
    return html.escape(text)


def draw_blocks(plan: Plan) -> str:
    """The blocks of a plan in a plane (y, x) and in a cut (z, x), and what the middle one reads, as an SVG picture.

    Axes keep their proportions in voxels; thin lines are blocks, the frame is what the middle block reads.
    """
    views = [_draw_view(plan, axes) for axes in ((2, 3), (1, 3))]
    return "".join(f'<figure style="display:inline-block;margin:0 1em 0 0">{view}</figure>' for view in views)


def _draw_view(plan: Plan, axes: tuple[int, int]) -> str:
    sizes = [plan.region.stop[axis] - plan.region.start[axis] for axis in axes]
    scale = WIDTH / max(*sizes, 1)
    height, width = (max(size * scale, 2.0) for size in sizes)
    lines = []
    for axis, size, along in zip(axes, sizes, (False, True), strict=True):
        starts = range(plan.block[axis], size, plan.block[axis])
        for start in starts if len(starts) < _LINES else ():
            at = start * scale
            lines.append(f"M{at:.1f} 0V{height:.1f}" if along else f"M0 {at:.1f}H{width:.1f}")
    low, high = zip(*(_middle(plan, axis) for axis in axes), strict=True)
    y, x = (edge * scale for edge in low)
    tall, wide = ((b - a) * scale for a, b in zip(low, high, strict=True))
    names = " ".join("tzyx"[axis] for axis in axes)
    return (
        f'<svg width="{width + 4:.0f}" height="{height + 4:.0f}" viewBox="-2 -2 {width + 4:.1f} {height + 4:.1f}" '
        f'role="img" aria-label="blocks along {names}">'
        f'<rect width="{width:.1f}" height="{height:.1f}" fill="#4477aa" fill-opacity="0.12" stroke="#4477aa"/>'
        f'<path d="{"".join(lines)}" stroke="#4477aa" stroke-width="0.7" fill="none"/>'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" fill="#ee6677" fill-opacity="0.25" '
        f'stroke="#ee6677"/></svg><figcaption>{names}</figcaption>'
    )


def _middle(plan: Plan, axis: int) -> tuple[int, int]:
    """What the middle block of an axis reads, halo included, in voxels from the region's start; may begin below 0."""
    first, last = plan.region.start[axis], plan.region.stop[axis]
    block, halo = plan.block[axis], (0, *plan.halo_zyx)[axis]
    start = first + (last - first - 1) // block // 2 * block
    low = max(start - halo, plan.image.start[axis])
    high = min(min(start + block, last) + halo, plan.image.stop[axis])
    return max(low - first, 0), min(high, last) - first
