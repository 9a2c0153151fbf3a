"""What somebody drew, and chose to draw with, in a project file: annotations, labels and features, trained or not.

Annotations lie in blocks cut to what is drawn, each with its place over the image's axes, c last (SEMANTICS 8 and 14).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.annotations import Annotations, check_labels
from pipeline.axes import reorder
from pipeline.blocks import AXES, Index
from pipeline.errors import PlanError
from pipeline.features import FeatureSelection
from pipeline.ilp_file import IlpFile
from pipeline.ilp_reader import read_axes, read_colors, read_features, read_names
from pipeline.project import Color

_SLICE = re.compile(r"\[((?:\d{1,12}:\d{1,12},)*\d{1,12}:\d{1,12})\]")
_SETS = "PixelClassification/LabelSets"


@dataclass(frozen=True)
class Drawing:
    """The annotations of one image, and what the person who drew them chose.

    Parameters
    ----------
    annotations : Annotations
    features : FeatureSelection, optional
    class_names, class_colors : tuple
        One for each label 1, 2, ...; empty if nobody chose any.
    """

    annotations: Annotations
    features: FeatureSelection | None = None
    class_names: tuple[str, ...] = ()
    class_colors: tuple[Color, ...] = ()


def read_labels(path: str | os.PathLike[str], shape: Index, lane: int | None = None) -> Drawing:
    """Read the annotations of an image from a project, which need not be trained.

    Parameters
    ----------
    path : path-like
        An .ilp file of pixel classification, or of Autocontext: the first stage then.
    shape : tuple of int, (t, z, y, x)
        Of the image.
    lane : int, optional
        Which image of the project, 0 the first; by default the only one that was drawn on.

    Raises
    ------
    ProjectError
        If the file cannot be used; code ``no_labels`` if nothing is drawn, or which image is meant is not clear.
    PlanError
        With the code ``labels``, if the annotations do not fit the image.
    """
    with IlpFile(path) as file:
        chosen = _choose_lane(file, lane)
        axes = _axes(file, chosen)
        parts = [_read_block(file, f"{_SETS}/{chosen}/{name}", axes) for name in file.names(f"{_SETS}/{chosen}")]
        _check_inside(file, parts, shape)
        annotations = Annotations.joined(shape, parts)
        names = read_names(file, "PixelClassification", max(annotations.found, default=1))
        colors = read_colors(file, "PixelClassification", len(names))
        return Drawing(annotations, read_features(file, "FeatureSelections"), names, colors)


def _choose_lane(file: IlpFile, lane: int | None) -> str:
    sets = file.names(_SETS)
    if lane is not None:
        if not 0 <= lane < len(sets):
            raise file.error("no_labels", f"has annotations for {len(sets)} image(s), numbered from 0; {lane} is none")
        return sets[lane]
    drawn = [name for name in sets if file.names(f"{_SETS}/{name}")]
    if len(drawn) == 1:
        return drawn[0]
    if not drawn:
        raise file.error("no_labels", "holds no annotations; draw in ilastik and save")
    numbers = ", ".join(str(sets.index(name)) for name in drawn)
    raise file.error("no_labels", f"holds annotations of several images; choose one with --lane: {numbers}")


def _axes(file: IlpFile, chosen: str) -> str:
    """Axes of the image of a label set, c last: the sets and the lanes are in one order."""
    lanes = file.names("Input Data/infos")
    number = file.names(_SETS).index(chosen)
    roles = file.strings("Input Data/Role Names") or ["Raw Data"]
    axes = read_axes(file, f"Input Data/infos/{lanes[number]}/{roles[0]}") if number < len(lanes) else None
    if axes is None or not set(axes) <= set("tczyx") or len(set(axes)) != len(axes):
        raise file.error("bad_input_data", f"has annotations for image {number}, but no usable axes of it")
    return axes.replace("c", "") + "c"


def _read_block(file: IlpFile, path: str, axes: str) -> tuple[tuple[int, ...], NDArray[np.uint8]]:
    """First voxel (t, z, y, x) and labels of a block."""
    values, where = file.array(path), _SLICE.fullmatch(file.attribute(path, "blockSlice") or "")
    if values is None or values.dtype.kind not in "bui" or values.ndim != len(axes) or where is None:
        raise file.error("no_labels", f"has annotations at {path!r} that are not as ilastik writes them")
    spans = [tuple(map(int, span.split(":"))) for span in where[1].split(",")]
    if [b - a for a, b in spans] != list(values.shape) or values.shape[-1] != 1:
        raise file.error("no_labels", f"has annotations at {path!r} of shape {values.shape} for the place {where[0]}")
    start = {axis: a for axis, (a, _) in zip(axes, spans, strict=True)}
    labels = reorder(check_labels(values[..., 0], f"{file.path}, {path}"), axes[:-1], AXES)
    return tuple(start.get(axis, 0) for axis in AXES), labels


def _check_inside(file: IlpFile, parts: list[tuple[tuple[int, ...], NDArray[np.uint8]]], shape: Index) -> None:
    for start, labels in parts:
        stop = [a + n for a, n in zip(start, labels.shape, strict=True)]
        if any(b > n for b, n in zip(stop, shape, strict=True)):
            raise PlanError(
                f"{file.path}: annotations reach to {'x'.join(map(str, stop))}, but the image has "
                f"{'x'.join(map(str, shape))} voxels (t, z, y, x); it was drawn on another image",
                code="labels",
            )
