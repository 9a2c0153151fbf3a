"""Groups that the measurements fall into by themselves, whatever the classes say, and channels drawn pair by pair.

Detections are split in two where two Gaussians describe their scores better than one, by the Bayesian information
criterion, and each half once more. Seeded; of many detections some are fitted, and all are assigned.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.report.detections import SEED, Detections, Floats, Group, Rows, draw_lots
from pipeline.report.drawing import Frame, color, figure, label, mark, svg, table
from pipeline.report.figures import draw_cells, legend, shorten

LEVELS = 2
MOST_FITTED = 2000
FITS = 3  # from different beginnings, of which the best counts
FEWEST = 4  # detections for each channel that a split needs
PAIRED = 3  # channels
MOST_PAIRED = 1000
PANEL = 190.0
STEP, LANE = 150.0, 44.0


@dataclass(frozen=True, eq=False)
class Cluster:
    """A part of the measured detections.

    Parameters
    ----------
    name : str
        Its way from the root: ``1.2`` is the second half of the first.
    rows : ndarray, (n,), int64
        Into the scores.
    parts : tuple of Cluster
        What it was split into; empty where one Gaussian describes it as well.
    """

    name: str
    rows: Rows
    parts: tuple[Cluster, ...] = ()

    def leaves(self) -> Iterator[Cluster]:
        """Parts that are not split further."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()


def find_clusters(scores: Floats, rows: Rows | None = None, name: str = "", levels: int = LEVELS) -> Cluster:
    """Split detections by their scores.

    Parameters
    ----------
    scores : ndarray, (n, channels)
        Without channels that are the same everywhere.
    rows : ndarray, optional
        Those that are looked at; by default all.
    name : str
        Of the whole.
    levels : int
        How often what was split is split again.
    """
    rows = np.arange(len(scores)) if rows is None else rows
    halves = _split(scores[rows]) if levels and len(rows) >= FEWEST * scores.shape[1] > 0 else None
    if halves is None:
        return Cluster(name, rows)
    stem = f"{name}." if name else ""
    parts = (find_clusters(scores, rows[halves == k], f"{stem}{k + 1}", levels - 1) for k in (0, 1))
    return Cluster(name, rows, tuple(parts))


def _split(scores: Floats) -> Rows | None:
    """Which half each row belongs to, the larger one first; None where one Gaussian is as good."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    fitted = scores[draw_lots(np.arange(len(scores)), MOST_FITTED)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fit that is not the best yet counts as it is
        one, two = (
            # begun by k-means itself, it would start threads, which on a busy machine wait for each other
            GaussianMixture(
                n, reg_covar=1e-4, random_state=SEED, n_init=FITS if n > 1 else 1, init_params="k-means++"
            ).fit(fitted)
            for n in (1, 2)
        )
    if two.bic(fitted) >= one.bic(fitted):
        return None
    halves = two.predict(scores)
    counts = np.bincount(halves, minlength=2)
    if not counts.all():
        return None
    return (halves if counts[0] >= counts[1] else 1 - halves).astype(np.int64)


def draw_clusters(found: Detections) -> str:
    """The tree of clusters with their mean scores, and which classes they hold."""
    scores = found.scores(found.measured)
    root = find_clusters(scores[:, np.ptp(scores, axis=0) > 0] if len(scores) else scores)
    leaves = list(root.leaves())
    if len(leaves) < 2:
        return mark("p", "One Gaussian describes the scores as well as two: there are no clusters.", class_="soft")
    names = [f"cluster {leaf.name}" for leaf in leaves]
    means = np.array([scores[leaf.rows].mean(axis=0) for leaf in leaves])
    cells = draw_cells(means, names, list(found.channels), 1.5, "Mean score by cluster and channel")
    tree = figure(_draw_tree(root, leaves), "Splits, and how many detections are in each part.")
    pictures = mark("div", tree, figure(cells, "Mean score of each channel in each cluster."), class_="row")
    numbers = found.group_numbers[found.measured]
    rows = []
    for name, leaf in zip(names, leaves, strict=True):
        shares = [f"{(numbers[leaf.rows] == group.number).mean():.1%}" for group in found.classes]
        rows.append((name, f"{len(leaf.rows):,}", *shares))
    head = ("cluster", "detections", *(group.name for group in found.classes))
    return pictures + table(head, rows, "Detections of each cluster, and what share of them is in each class")


def _draw_tree(root: Cluster, leaves: list[Cluster]) -> str:
    """Parts from left to right; a line is as wide as the root of the share of detections that take it."""
    down = {leaf.name: 24 + LANE * k for k, leaf in enumerate(leaves)}
    parts: list[str] = []

    def place(cluster: Cluster, depth: int) -> float:
        places = [place(part, depth + 1) for part in cluster.parts]
        y = float(np.mean(places)) if places else down[cluster.name]
        x = 16 + STEP * depth
        for part, to in zip(cluster.parts, places, strict=True):
            width = max(12 * (len(part.rows) / len(root.rows)) ** 0.5, 1.0)
            way = f"M{x:.0f} {y:.1f}C{x + STEP / 2:.0f} {y:.1f} {x + STEP / 2:.0f} {to:.1f} {x + STEP:.0f} {to:.1f}"
            parts.insert(0, mark("path", d=way, class_="curve c0 branch", stroke_width=width))
        parts.append(
            label(x + (10 if not cluster.parts else 4), y - 8, f"{cluster.name or 'all'} ({len(cluster.rows):,})")
        )
        return y

    place(root, 0)
    height = 24 + LANE * len(leaves)
    return svg(16 + STEP * LEVELS + 110, height, f"Tree of {len(leaves)} clusters", *parts)


def draw_pairs(found: Detections) -> str:
    """Scores of channels against each other, for those in which the classes differ most."""
    scores = found.scores(found.measured)
    varying = np.flatnonzero(np.ptp(scores, axis=0) > 0) if len(scores) > 1 else np.zeros(0, np.int64)
    if len(varying) < 2:
        return ""
    chosen = _choose_channels(found, scores, varying)
    lots = draw_lots(np.arange(len(scores)), MOST_PAIRED)
    numbers = found.group_numbers[found.measured][lots]
    groups = found.classes or found.groups
    panels = []
    for i, first in enumerate(chosen):
        for second in chosen[i + 1 :]:
            pair = scores[lots][:, [first, second]]
            panels.append(_draw_pair(pair, numbers, groups, found.channels[first], found.channels[second]))
    many = f" {len(lots):,} of {len(scores):,} detections, drawn by lot." if len(lots) < len(scores) else ""
    how = "in which the classes differ most" if found.classes else "that come first"
    told = mark("p", f"Scores in the channels {how}, pair by pair.{many}", class_="soft")
    return told + legend(groups) + mark("div", *panels, class_="row")


def _choose_channels(found: Detections, scores: Floats, varying: Rows) -> Rows:
    numbers = found.group_numbers[found.measured]
    apart = np.zeros(len(varying))
    for group in found.classes:
        of_class = scores[numbers == group.number][:, varying]
        apart += len(of_class) * of_class.mean(axis=0) ** 2 if len(of_class) else 0
    order = np.argsort(-np.round(apart, 9), kind="stable")[:PAIRED]
    return np.sort(varying[order])


def _draw_pair(pair: Floats, numbers: Rows, groups: tuple[Group, ...], first: str, second: str) -> str:
    low, high = pair.min(axis=0), pair.max(axis=0)
    edges = [(float(a - 0.04 * (b - a)), float(b + 0.04 * (b - a))) for a, b in zip(low, high, strict=True)]
    frame = Frame(PANEL + 120, PANEL + 90, edges[0], edges[1])
    dots = []
    for group in groups:
        places = frame.place(*pair[numbers == group.number].T)
        way = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in places.tolist())
        dots.append(mark("path", d=way, class_=f"curve {color(group.number)} dots") if way else "")
    names = shorten(first), shorten(second)
    drawing = svg(frame.width, frame.height, f"Scores of {first} against {second}", frame.axes(*names), *dots)
    return mark("figure", drawing)
