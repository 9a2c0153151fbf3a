"""An ilastik project as frozen, hashable values, and what can be said about it; arrays of trees apart, plain Python."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import PlanError, ProjectError
from pipeline.features import FeatureSelection
from pipeline.forest import Forest
from pipeline.thresholding import Thresholding

if TYPE_CHECKING:
    from pipeline.annotations import Annotations
    from pipeline.ilp_writer import TrainingImage

Color = tuple[int, int, int]

WORKFLOW_STAGES = {"Pixel Classification": 1, "AutocontextTwoStage": 2}
"""Workflow name -> number of stages."""

DEFAULT_COLORS: tuple[Color, ...] = (
    (255, 225, 25),
    (0, 130, 200),
    (230, 25, 75),
    (70, 240, 240),
    (60, 180, 75),
    (250, 190, 190),
    (170, 110, 40),
    (145, 30, 180),
    (0, 128, 128),
    (245, 130, 48),
    (240, 50, 230),
    (210, 245, 60),
)
"""Colours of labels without a stored one, repeated if there are more."""

_AUTOCONTEXT_TYPES = frozenset({"u1", "u2", "i1", "i2", "f4", "f8"})


@dataclass(frozen=True)
class Stage:
    """Features, the forest trained on them, and one name and colour for each output channel.

    Channel ``label - 1`` belongs to a label; labels that the forest does not know get probability 0.
    """

    features: FeatureSelection
    forest: Forest
    class_names: tuple[str, ...]
    class_colors: tuple[Color, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Project:
    """A trained pixel classification or Autocontext project.

    Parameters
    ----------
    path : str
        Where it was read; does not count for equality.
    workflow : str
        A key of `WORKFLOW_STAGES`.
    version : str
        Of the ilastik that saved it, "unknown" if not stored.
    axes : str
        Axis names of the last training image in stored order, such as ``"zyxc"``.
    shape : tuple of int or None
        Of that image, None in projects before ilastik 1.3.3.
    stages : tuple of Stage
        One, for Autocontext two.
    thresholding : Thresholding, ProjectError or None
        Stored settings for finding objects, or why what is stored cannot be used; decides no prediction, and does not
        count for equality. See `pipeline.thresholding.project_thresholding`.

    Notes
    -----
    Two projects are equal if everything that decides results and how they are named is: `digest`.
    """

    path: str
    workflow: str
    version: str
    axes: str
    shape: tuple[int, ...] | None
    stages: tuple[Stage, ...]
    thresholding: Thresholding | ProjectError | None = None
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", _digest(self))

    @property
    def n_channels(self) -> int | None:
        """Channels of the training image, None if not known."""
        if "c" not in self.axes:
            return 1
        return None if self.shape is None else self.shape[self.axes.index("c")]

    @property
    def n_planes(self) -> int | None:
        """Length of the training image's z axis, 1 if it has none, None if not known."""
        if "z" not in self.axes:
            return 1
        return None if self.shape is None else self.shape[self.axes.index("z")]

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        image: TrainingImage | None = None,
        annotations: Sequence[Annotations] = (),
        overwrite: bool = False,
    ) -> None:
        """Write it as a file that ilastik opens.

        Parameters
        ----------
        path : path-like
            The .ilp file to make.
        image : TrainingImage, optional
            What it was trained on; without one, ilastik will ask where the image is.
        annotations : sequence of Annotations
            For each stage what was drawn; without them it predicts, but cannot be trained further.
        overwrite : bool
            Whether a file of that name may be replaced.

        Raises
        ------
        StoreError
            If the file exists and may not be replaced, or cannot be written.
        ProjectError
            With the code ``bad_input_data``, if neither `image` nor the project says what shape the image had.
        """
        from pipeline.ilp_writer import NOT_STORED, TrainingImage, write_project  # it needs the classes above

        if image is None and self.shape is None:
            raise ProjectError(f"{self.path} does not say what shape its image had; give image=", "bad_input_data")
        trained_on = image or TrainingImage(NOT_STORED, self.axes, self.shape or ())
        rows = sum(map(len, annotations))
        write_project(path, self.stages, trained_on, annotations=annotations, n_rows=rows, overwrite=overwrite)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Project) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def _repr_html_(self) -> str:
        """What Jupyter shows: the tables of ``voxelforest info``."""
        from pipeline import description, markup  # they need the classes above

        return markup.tables(description.describe(self))

    def __repr__(self) -> str:
        last = self.stages[-1]
        return (
            f"<Project {self.path}: {self.workflow}, ilastik {self.version}, axes {self.axes}, "
            f"{last.forest.n_columns} features, {last.forest.n_trees} trees, classes {', '.join(last.class_names)}>"
        )


def open_project(path: str | os.PathLike[str]) -> Project:
    """Read an ilastik project file; nothing in it is unpickled or executed.

    Parameters
    ----------
    path : path-like
        An .ilp file of the workflow pixel classification or Autocontext, trained and saved.

    Raises
    ------
    ProjectError
        If it cannot be used; `code` is one of SEMANTICS 11, the message says what the file is and what was expected.
    """
    from pipeline.ilp_reader import read_project  # it builds the classes above

    return read_project(path)


def check_data(project: Project, dims: str, shape: Sequence[int], dtype: str | np.dtype | None = None) -> None:
    """Refuse data that the project cannot be applied to.

    Parameters
    ----------
    project : Project
    dims : str
        Axis names of the data, of t c z y x each at most once, in any order.
    shape : sequence of int
        Lengths along `dims`.
    dtype : dtype-like, optional
        Type of the data; matters for Autocontext alone, whose probabilities become channels of that type.

    Raises
    ------
    PlanError
        With code ``axes``, ``channels``, ``dimensions``, ``feature_count``, ``image_too_small`` or ``dtype``
        (SEMANTICS 9, 2 and 6); the message names both sides.
    """
    if len(dims) != len(shape) or len(set(dims)) != len(dims) or not {"y", "x"} <= set(dims) <= set("tczyx"):
        raise PlanError(f"axes {dims!r} do not name the {len(shape)} axes of the data, y and x among them", "axes")
    length = dict(zip(dims, shape, strict=True))
    n_channels, z = length.get("c", 1), length.get("z", 1)
    if project.n_channels not in (None, n_channels):
        raise PlanError(
            f"the data has {n_channels} channel(s), but {project.path} was trained on {project.n_channels}", "channels"
        )
    have, want = ("".join(axis for axis in "zyx" if axis in axes) for axes in (dims, project.axes))
    if have != want:
        hint = _axes_hint(dims, have, want)
        raise PlanError(
            f"the data has the spatial axes {have!r}, but {project.path} was trained on {want!r}{hint}", "dimensions"
        )
    _check_stages(project, n_channels, z)
    for stage in project.stages:
        stage.features.check_size(z, length["y"], length["x"])
    if dtype is not None and len(project.stages) > 1 and np.dtype(dtype).str[1:] not in _AUTOCONTEXT_TYPES:
        raise PlanError(
            f"Autocontext is not defined on {np.dtype(dtype)} data; convert it to uint8, uint16 or float32", "dtype"
        )


def _axes_hint(dims: str, have: str, want: str) -> str:
    """What to do where one name of an axis decides."""
    if (have, want) == ("zyx", "yx") and "t" not in dims:
        return '; if its planes are images in time, or unrelated, name them t: axes="tyx"'
    if (have, want) == ("yx", "zyx") and "t" in dims:
        return '; if its t counts planes in space, name it z: axes="zyx"'
    return ""


def _check_stages(project: Project, n_channels: int, z: int) -> None:
    for number, stage in enumerate(project.stages, start=1):
        columns = stage.features.n_columns(n_channels, z)
        if columns != stage.forest.n_columns:
            raise PlanError(
                f"the features selected in {project.path} (stage {number}) give {columns} columns for data of "
                f"{n_channels} channel(s) and {z} plane(s), but its forest was trained on {stage.forest.n_columns}",
                "feature_count",
            )
        n_channels += len(stage.class_names)


def _digest(project: Project) -> str:
    """SHA-256 over everything that decides results, in a fixed byte order."""
    digest = hashlib.sha256()

    def add(value: object) -> None:
        digest.update(json.dumps(value).encode() + b"\n")

    add(["project", 1, project.workflow, project.axes, project.n_channels])
    for stage in project.stages:
        features, forest = stage.features, stage.forest
        add([features.ids, [scale.hex() for scale in features.scales], features.matrix, features.compute_in_2d])
        add([stage.class_names, stage.class_colors, forest.labels, forest.n_columns, forest.n_nodes, forest.n_trees])
        for array, kind in (
            (forest.column, "<i4"),
            (forest.threshold, "<f8"),
            (forest.child, "<i4"),
            (forest.probability, "<f8"),
            (forest.roots, "<i4"),
            (forest.group, "<i4"),
        ):
            digest.update(np.ascontiguousarray(array, dtype=kind).data)
    return digest.hexdigest()
