"""The page: sections put together, with a policy that lets nothing in from outside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.report import clusters, figures, locations, neighbours
from pipeline.report.detections import Detections, Rows
from pipeline.report.drawing import color, mark, png, table, tell, text

MOST_THUMBNAILS = 24
LARGEST_THUMBNAIL = 128  # pixels
Draw = Callable[[Mapping[str, Any]], npt.NDArray[np.uint8] | None]


def make_page(found: Detections, title: str, parameters: Mapping[str, str], thumbnails: Draw | None) -> str:
    """The whole page; see `pipeline.report.write_report`."""
    sections = list(_sections(found, parameters, thumbnails))
    links = (mark("li", mark("a", text(name), href=f"#{key}")) for key, name, _ in sections)
    bodies = (
        mark("section", mark("h2", text(name), id=f"{key}-title"), body, id=key, aria_labelledby=f"{key}-title")
        for key, name, body in sections
    )
    style, script = (
        resources.files(__package__).joinpath(name).read_text("utf-8") for name in ("report.css", "report.js")
    )
    allowed = f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    head = (
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{text(allowed)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{text(title)}</title><style>{style}</style>"
    )
    header = mark(
        "header", mark("h1", text(title)), _facts(found), mark("nav", mark("ul", *links), aria_label="Contents")
    )
    body = f"{header}<main>{''.join(bodies)}</main><script>{script}</script>"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _digest(contents: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(contents.encode()).digest()).decode()}"


def _facts(found: Detections) -> str:
    space = found.space
    facts = [("detections", f"{len(found):,}"), *((g.name, f"{len(g.rows):,}") for g in found.classes)]
    facts += [("voxels (z, y, x)", " × ".join(f"{n:,}" for n in space.shape))]
    if space.unit != "voxel":
        facts += [(f"{space.short_unit} (z, y, x)", " × ".join(tell(float(n)) for n in space.extent))]
    items = (mark("li", mark("b", text(value)), text(name)) for name, value in facts)
    return mark("ul", *items, class_="facts")


def _sections(
    found: Detections, parameters: Mapping[str, str], thumbnails: Draw | None
) -> Iterator[tuple[str, str, str]]:
    if len(found):
        if thumbnails is not None:
            yield "pictures", "Detections", _thumbnails(found, thumbnails)
        yield "places", "Locations", _places(found)
        if found.channels and len(found.measured):
            counted = _count_measured(found)
            yield "brightness", "Intensities", counted + figures.draw_means(found) + figures.draw_heat_map(found)
            yield "distributions", "Distributions", figures.draw_distributions(found) + figures.tabulate_sums(found)
            yield "correlations", "Correlations", _correlations(found)
            yield "clusters", "Clusters", clusters.draw_clusters(found)
        else:
            why = "No detection was measured: the box of each reaches out of the volume, or no channel was read."
            yield "brightness", "Intensities", mark("p", why)
        yield "neighbours", "Sizes and neighbours", neighbours.draw_neighbours(found)
    else:
        what = "Nothing was detected in this volume with these parameters, so there is nothing to draw."
        yield "nothing", "No detections", mark("p", what)
    yield "parameters", "Parameters", _parameters(found, parameters)


def _places(found: Detections) -> str:
    return locations.draw_space(found) + locations.draw_views(found) + locations.tabulate_space(found)


def _count_measured(found: Detections) -> str:
    """How many detections the following speaks of, and what it says."""
    what = (
        "A score compares what was measured of a detection in a channel, the columns sum_… of the table of results, "
        "with all measured detections: 0 is their mean, 1 lies one standard deviation above it."
    )
    if len(found.measured) < len(found):
        what += (
            f" {len(found.measured):,} of {len(found):,} detections were measured; the boxes of the others reach "
            "out of the volume."
        )
    return mark("p", text(what), class_="soft")


def _correlations(found: Detections) -> str:
    return figures.draw_correlations(found) + clusters.draw_pairs(found) + figures.draw_scree(found)


def choose_shown(found: Detections) -> Rows:
    """Rows whose pictures are shown: of each class as many, evenly spaced from the smallest to the largest."""
    groups = [g for g in found.classes or found.groups if len(g.rows)]
    sizes = found.table["size"].to_numpy(np.float64)
    chosen = []
    for group in groups:
        ranked = group.rows[np.argsort(sizes[group.rows], kind="stable")]
        number = min(len(ranked), max(MOST_THUMBNAILS // len(groups), 1))
        chosen.append(ranked[np.linspace(0, len(ranked) - 1, number).astype(np.int64)])
    return np.concatenate(chosen)[:MOST_THUMBNAILS] if chosen else np.zeros(0, np.int64)


def _thumbnails(found: Detections, draw: Draw) -> str:
    items = []
    numbers = found.group_numbers
    for number in choose_shown(found).tolist():
        row = found.row(number)
        pixels = draw(row)
        if pixels is None or not pixels.size:
            continue
        step = max(1, -(-max(pixels.shape[:2]) // LARGEST_THUMBNAIL))
        told = f"{row['id']} {row['class']}" if "class" in row else str(row["id"])
        where = f"z {row['z']}, y {row['y']}, x {row['x']}"
        image = f'<img alt="{text(f"Detection {told} at {where}")}" src="{png(pixels[::step, ::step])}">'
        details = f"<b>{text(told)}</b><br>{text(where)}<br>{text(row['size'])} voxels"
        items.append(mark("li", image, mark("span", details), class_=color(int(numbers[number]))))
    if not items:
        return mark("p", "There are no pictures of these detections.", class_="soft")
    how = (
        "From the smallest to the largest of each class, the frame in the colour of the class."
        if found.classes
        else ("From the smallest to the largest.")
    )
    return mark("p", text(how), class_="soft") + mark("ul", *items, class_="thumbs")


def _parameters(found: Detections, parameters: Mapping[str, str]) -> str:
    space = found.space
    facts = {
        **parameters,
        "voxel size (z, y, x)": ", ".join(tell(n) for n in space.spacing) + f" {space.unit}",
        "first voxel (z, y, x)": ", ".join(map(str, space.origin)),
    }
    rows = ((name, str(value)) for name, value in facts.items())
    return mark("div", table(("parameter", "value"), rows, "What the analysis was done with"), class_="plain")
