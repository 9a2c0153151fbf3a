"""Volumes in memory, small forests grown at random, and their slow, plain predictions; shared by tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.features import FEATURE_LABELS, FeatureSelection
from pipeline.forest import Forest, Tree, join_trees
from pipeline.project import DEFAULT_COLORS, Project, Stage
from pipeline.volume import Volume
from tests.oracles import channels_of, features_of, forest_rows, load_golden_module

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.float32]
IDS = tuple(FEATURE_LABELS)


@dataclass
class MemorySource:
    """An array in memory in place of a file; remembers the boxes that were read."""

    array: Array
    axes: str
    chunks: tuple[int, ...]
    boxes: list[tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    url: str = "memory"
    spacing: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def fingerprint(self) -> str:
        described = f"{self.shape} {self.dtype} {self.axes}".encode()
        return hashlib.sha256(described + np.ascontiguousarray(self.array).tobytes()).hexdigest()

    @property
    def voxels_read(self) -> int:
        """Voxels of all boxes that were read."""
        return sum(int(np.prod(np.subtract(stop, start))) for start, stop in self.boxes)

    def read(self, start: Sequence[int], stop: Sequence[int]) -> Array:
        self.boxes.append((tuple(start), tuple(stop)))
        return self.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))].copy()


def memory_volume(array: Array, axes: str, chunks: Sequence[int] | None = None) -> Volume:
    """A volume over an array with these axes, in the array's order."""
    return Volume(MemorySource(array, axes, tuple(chunks or array.shape)), axes)


def full_selection(scales: Sequence[float], in_2d: bool | None = None) -> FeatureSelection:
    """All features at all of these scales."""
    flags = None if in_2d is None else (in_2d,) * len(scales)
    return FeatureSelection(IDS, tuple(scales), ((True,) * len(scales),) * len(IDS), flags)


def grow_forest(
    rng: np.random.Generator,
    rows: Rows,
    *,
    labels: Sequence[int] = (1, 2, 3),
    trees: int = 4,
    groups: int = 2,
    depth: int = 5,
) -> Forest:
    """Trees whose thresholds are values of these feature rows, so that the last bit of a feature decides.

    Parameters
    ----------
    rng : Generator
    rows : ndarray, (n, columns), float32
        Finite values are taken from here.
    labels : sequence of int
        Label of each class, ascending.
    trees, groups, depth : int
        Trees, in how many Forest groups, and nodes above the deepest leaf.
    """
    grown = [_grow_tree(rng, rows, len(labels), depth) for _ in range(trees)]
    return join_trees(grown, sorted(i % groups for i in range(trees)), labels, rows.shape[1])


def _grow_tree(rng: np.random.Generator, rows: Rows, n_classes: int, depth: int) -> Tree:
    columns, thresholds, leaves = [], [], []
    level = [depth]  # nodes of the tree, breadth-first, as what may still grow below them
    for below in level:
        interior = below > 0 and rng.random() < 0.85
        columns.append(int(rng.integers(rows.shape[1])) if interior else -1)
        picked = float(rows[rng.integers(len(rows)), columns[-1]]) if interior else 0.0
        thresholds.append(picked if np.isfinite(picked) else 0.0)
        share = rng.random(n_classes) ** 3
        leaves.append(np.zeros(n_classes) if interior else share / share.sum())
        level.extend([below - 1] * (2 * interior))
    return Tree(np.array(columns, np.int32), np.array(thresholds), np.array(leaves))


def make_stage(forest: Forest, selection: FeatureSelection, n_labels: int | None = None) -> Stage:
    """A stage with as many label names as the forest's last label, or more."""
    n = n_labels or forest.labels[-1]
    return Stage(selection, forest, tuple(f"Class {i}" for i in range(1, n + 1)), DEFAULT_COLORS[:n])


def make_project(stages: Sequence[Stage], axes: str, n_channels: int = 1) -> Project:
    """A project of one or two stages, as if trained on an image of these axes."""
    workflow = ("Pixel Classification", "AutocontextTwoStage")[len(stages) - 1]
    shape = tuple(n_channels if axis == "c" else 64 for axis in axes)
    return Project("made.ilp", workflow, "1.4.1", axes, shape, tuple(stages))


def grow_project(
    rng: np.random.Generator,
    frames: Array,
    axes: str,
    selections: Sequence[FeatureSelection],
    labels: Sequence[Sequence[int]] = ((1, 2, 3), (1, 2)),
) -> Project:
    """A project for these images, one stage for each selection.

    Parameters
    ----------
    frames : ndarray, (t, c, z, y, x)
        Thresholds are taken from the features of the first.
    axes : str
        Axes of the training image.
    """
    stages: list[Stage] = []
    frame = frames[0]
    for selection, known in zip(selections, labels, strict=False):
        features = compute_features(selection, frame)
        forest = grow_forest(rng, features.reshape(len(features), -1).T, labels=known)
        stages.append(make_stage(forest, selection))
        if len(stages) < len(selections):
            frame = _append(frame, classify(stages[-1], features))
    return make_project(stages, axes, frames.shape[1])


def compute_features(selection: FeatureSelection, frame: Array) -> Rows:
    """Features (columns, z, y, x) of an image (c, z, y, x), which may be so large that squares overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        return features_of(selection, frame)


def classify(stage: Stage, features: Rows) -> Rows:
    """Probabilities of features (columns, z, y, x), as (labels, z, y, x)."""
    known = forest_rows(stage.forest, features.reshape(len(features), -1).T)
    classes = channels_of(stage.forest, known, len(stage.class_names))
    return classes.T.reshape(-1, *features.shape[1:])


def predict_slowly(project: Project, frames: Array, stage: int | None = None) -> tuple[Rows, Rows]:
    """Probabilities (t, c, z, y, x), and the features they were made from, of whole images (t, c, z, y, x)."""
    stages = project.stages[: stage or len(project.stages)]
    classes, features = [], []
    for frame in frames:
        for number, each in enumerate(stages):
            columns = compute_features(each.features, frame)
            probability = classify(each, columns)
            if number + 1 < len(stages):
                frame = _append(frame, probability)
        classes.append(probability)
        features.append(columns)
    return np.stack(classes), np.stack(features)


def _append(frame: Array, classes: Rows) -> Array:
    converted: Array = load_golden_module("ref").convert_probabilities(classes, frame.dtype)
    return np.concatenate([frame, converted])
