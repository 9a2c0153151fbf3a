"""What is measured: feature selections, made images, and forests of three depths; the same numbers on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray

from numba_ops.stack import FEATURES
from pipeline import samples
from pipeline.features import DEFAULT_SCALES, FeatureSelection
from pipeline.ilp_writer import TrainingImage, write_project
from pipeline.project import Stage
from pipeline.training import train as fit_forest

TRAINING_SHAPE = (40, 160, 160)
# Strokes of a person's pen, and how many classes are told apart.
DEPTHS = {"shallow": (4, 2), "ordinary": (170, 4), "deep": (1600, 4)}


def _select(chosen: Mapping[str, Sequence[float]], in_2d: bool) -> FeatureSelection:
    matrix = tuple(tuple(scale in chosen[name] for scale in DEFAULT_SCALES) for name in FEATURES)
    return FeatureSelection(FEATURES, DEFAULT_SCALES, matrix, (in_2d,) * len(DEFAULT_SCALES))


def _every_feature(scales: Sequence[float], in_2d: bool) -> FeatureSelection:
    """All features at some scales, and the smallest smoothing, which ilastik offers alone."""
    return _select({name: (0.3, *scales) if name == FEATURES[0] else tuple(scales) for name in FEATURES}, in_2d)


_SMALL = dict(zip(FEATURES, ((0.3, 5.0), (1.6,), (1.6,), (1.6,), (3.5,), (3.5,)), strict=True))
SELECTIONS = {
    "small-3d": _select(_SMALL, in_2d=False),
    "mid-3d": _every_feature((0.7, 1.6, 3.5, 5.0), in_2d=False),
    "full-3d": _every_feature(DEFAULT_SCALES[1:], in_2d=False),
    "plane-25": _every_feature((0.7, 1.6, 5.0), in_2d=True),
    "plane-33": _every_feature((0.7, 1.0, 1.6, 3.5), in_2d=True),
    "channels-75": _every_feature((0.7, 1.6, 5.0), in_2d=True),
}
CHANNELS = {"channels-75": 3}


@dataclass(frozen=True)
class Case:
    """A project and the kind of image it is for.

    Parameters
    ----------
    selection : str
        A key of `SELECTIONS`.
    depth : str
        A key of `DEPTHS`.
    """

    selection: str
    depth: str

    @property
    def features(self) -> FeatureSelection:
        """The features of the project."""
        return SELECTIONS[self.selection]

    @property
    def in_2d(self) -> bool:
        """Whether the image is a plane."""
        return all(self.features.in_2d(1)) and not self.selection.endswith("3d")

    @property
    def n_channels(self) -> int:
        """Channels of the image."""
        return CHANNELS.get(self.selection, 1)

    @property
    def dims(self) -> str:
        """Axes of the image as stored."""
        return ("c" if self.n_channels > 1 else "") + ("yx" if self.in_2d else "zyx")

    def stored(self, raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An image (c, z, y, x) without the axes that `dims` lacks."""
        return raw[tuple(slice(None) if axis in self.dims else 0 for axis in "czyx")]


@cache
def tissue() -> samples.Sample:
    """The made volume that everything is cut from."""
    return samples.tissue(TRAINING_SHAPE)


@cache
def plane() -> int:
    """The plane of the sample in which the rarest class has most voxels, two above it left for further channels."""
    truth = tissue().truth[: -max(CHANNELS.values())]
    rarest = np.stack([(truth == label).sum(axis=(1, 2)) for label in range(1, truth.max() + 1)]).min(axis=0)
    return int(rarest.argmax())


def image(case: Case, shape_zyx: Sequence[int]) -> npt.NDArray[np.uint8]:
    """A made image of any size, (c, z, y, x): the sample and its mirror images side by side, without seams.

    Channels are neighbouring planes of the sample.
    """
    raw = tissue().raw
    if case.in_2d:
        planes = raw[plane() : plane() + case.n_channels, None]
        return np.stack([mirror_tile(plane, shape_zyx) for plane in planes])
    return mirror_tile(raw, shape_zyx)[None]


def mirror_tile(volume: npt.NDArray[np.uint8], shape: Sequence[int]) -> npt.NDArray[np.uint8]:
    """A volume continued to `shape` by mirror images, edges repeated."""
    at = []
    for wanted, n in zip(shape, volume.shape, strict=True):
        i = np.arange(wanted) % (2 * n)
        at.append(np.where(i < n, i, 2 * n - 1 - i))
    return np.ascontiguousarray(volume[np.ix_(*at)])


@cache
def train(case: Case) -> Stage:
    """A stage of 100 trees trained on scribbles over the made volume, inside its structures as a person draws them."""
    raw = image(case, (1, *TRAINING_SHAPE[1:]) if case.in_2d else TRAINING_SHAPE)
    labels, names = annotate(case)
    training = fit_forest(
        xarray.DataArray(raw, dims=tuple("czyx")),
        labels,
        features=case.features,
        class_names=names,
        class_colors=samples.CLASS_COLORS[: len(names)],
    )
    return training.project.stages[0]


def annotate(case: Case) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Labels (z, y, x) along strokes, 0 elsewhere, and the names of the classes."""
    strokes, classes = DEPTHS[case.depth]
    truth = tissue().truth
    if case.in_2d:
        truth = truth[plane()][None]
    if classes == 2:
        truth = np.where(truth == 4, np.uint8(2), np.uint8(1))
    names = ("Background", "Nucleus") if classes == 2 else samples.CLASS_NAMES
    return samples.scribbles(truth, strokes), names


def write_case(case: Case, folder: Path) -> Path:
    """The project of a case as a file that both we and vigra read."""
    path = folder / f"{case.selection}-{case.depth}.ilp"
    if not path.exists():
        shape = dict(zip("czyx", (case.n_channels, *TRAINING_SHAPE), strict=True))
        trained_on = TrainingImage("training.h5/raw", case.dims, tuple(shape[axis] for axis in case.dims))
        write_project(path, [train(case)], trained_on)
    return path
