"""Training: annotated voxels and a choice of features in, a project that ilastik opens out.

Features are computed where somebody drew and nowhere else, cell by cell with its halo, so a volume of any size costs
what its annotations cost. The forest is scikit-learn's, with ilastik's parameters.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Annotations, read_annotations, shape_error
from pipeline.axes import ORDER
from pipeline.blocks import AXES
from pipeline.config import settings
from pipeline.errors import PlanError
from pipeline.feature_choice import choose_features, keep_best
from pipeline.features import FeatureSelection
from pipeline.forest import forest_of_sklearn
from pipeline.ilp_labels import Drawing, read_labels
from pipeline.ilp_writer import ILASTIK_VERSION, TrainingImage
from pipeline.plan import build_stack
from pipeline.progress import Progress
from pipeline.project import DEFAULT_COLORS, Color, Project, Stage
from pipeline.training_image import Image, as_image, path_beside
from pipeline.volume import Volume, volume_of

if TYPE_CHECKING:
    import xarray
    from sklearn.ensemble import RandomForestClassifier

CELL = 64  # voxels along each axis of a cell whose annotated voxels are computed together
MAX_TREES = 10_000
Rows = npt.NDArray[np.float32]
WORKFLOW = "Pixel Classification"


@dataclass(frozen=True, eq=False)
class Training:
    """A trained project, and how far to trust it.

    Parameters
    ----------
    project : Project
        Of one stage; `predict` takes it.
    image : TrainingImage
        What it was trained on.
    annotations : Annotations
    score : float or None
        Share of annotated voxels that the trees which had not seen them get right; None where every tree saw all.
        Neighbours along a stroke are alike, so it flatters.
    confusion : ndarray, (classes, classes), int64
        By the same trees: rows are what was drawn, columns what they say, both as `project.stages[0].forest.labels`.
    importances : tuple of (str, float)
        For each feature the share of impurity that it removed, largest first.
    """

    project: Project
    image: TrainingImage
    annotations: Annotations
    score: float | None
    confusion: npt.NDArray[np.int64]
    importances: tuple[tuple[str, float], ...]

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the project with its annotations as a file that ilastik opens; errors of `Project.write`."""
        image = replace(self.image, path=path_beside(self.image.path, path))
        self.project.write(path, image=image, annotations=[self.annotations], overwrite=overwrite)

    def __repr__(self) -> str:
        (stage,) = self.project.stages
        score = "no out-of-bag score" if self.score is None else f"out-of-bag score {self.score:.3f}"
        return (
            f"<Training on {len(self.annotations)} voxels of {', '.join(stage.class_names)}: "
            f"{stage.forest.n_columns} features, {stage.forest.n_trees} trees, {score}>"
        )


def train(
    raw: xarray.DataArray | Volume,
    labels: xarray.DataArray | npt.NDArray[Any] | Volume | str | os.PathLike[str],
    *,
    features: str | Sequence[str] | FeatureSelection | None = None,
    scales: Sequence[float] | None = None,
    keep: int | None = None,
    class_names: Sequence[str] | None = None,
    class_colors: Sequence[Color] | None = None,
    trees: int = 100,
    seed: int = 0,
    lane: int | None = None,
    progress: Progress | None = None,
) -> Training:
    """Train a random forest on annotated voxels.

    Parameters
    ----------
    raw : xarray.DataArray or Volume
        Dims from ``t c z y x``, as for `predict`; lazy data is read around annotations alone.
    labels : array, Volume, or path of a project
        For each voxel its label 1..255, 0 where nobody drew: labelled, or an array over the dims of `raw` without c.
        The path of an ``.ilp`` stands for the annotations in it.
    features : str, sequence of str or FeatureSelection, optional
        ``standard`` (the default), ``all`` or ``light``, feature ids, or an exact selection. With annotations of a
        project its own selection is the default.
    scales : sequence of float, optional
        In voxels; by default those of the set, without such as the image is too small for.
    keep : int, optional
        Train twice, the second time with so many features only: those that mattered most the first time.
    class_names, class_colors : sequence, optional
        One for each label 1, 2, ...; by default those of the project, or ``Label 1``, ... and ilastik's colours.
    trees : int
        Each on a bootstrap sample, grown until pure, with the rounded root of the number of features as candidates at a
        node: ilastik's parameters.
    seed : int
        The same data and seed give the same forest.
    lane : int, optional
        Which image's annotations, in a project of several.
    progress : Progress, optional

    Raises
    ------
    PlanError
        If labels, image and features do not fit each other, or fewer than two classes are drawn.
    ProjectError
        If annotations are to be read from a project that cannot be used.

    Examples
    --------
    >>> train(raw, scribbles, features="light").write("new.ilp")  # doctest: +SKIP
    """
    progress = progress or Progress()
    if not 1 <= trees <= MAX_TREES:
        raise PlanError(f"{trees} trees; allowed are 1 to {MAX_TREES}", code="trees")
    image = as_image(raw)
    drawing = _take_drawing(image, labels, lane, progress)
    _check_classes(drawing.annotations)
    selection = _select(features, scales, drawing, image)
    rows = collect_rows(image, drawing.annotations, selection, progress)
    with progress.stage("train", blocks=1 if keep is None else 2, voxels=0) as stage:
        model = _fit(rows, drawing.annotations.labels, trees, seed)
        stage.advance()
        if keep is not None:
            every = selection.channels(image.n_channels, image.depth)
            selection = keep_best(selection, model.feature_importances_, image.n_channels, image.depth, keep)
            kept = set(selection.channels(image.n_channels, image.depth))
            rows = rows[:, [column in kept for column in every]]
            model = _fit(rows, drawing.annotations.labels, trees, seed)
            stage.advance()
    names, colors = _name_classes(drawing, class_names, class_colors)
    return _conclude(image, drawing.annotations, Stage(selection, forest_of_sklearn(model), names, colors), model)


def collect_rows(image: Image, annotations: Annotations, selection: FeatureSelection, progress: Progress) -> Rows:
    """Features of the annotated voxels alone.

    Returns
    -------
    ndarray, (voxels, columns), float32
        In the order of the annotations.

    Raises
    ------
    PlanError
        With the code ``training_memory``, if they need more than `Settings.training_memory`.
    ReadError
        If the image's data is damaged.
    """
    from numba_ops.features import slabs

    stack = build_stack(selection, image.n_channels, image.depth)
    needed, allowed = len(annotations) * stack.n_columns * 4, settings().training_memory
    if needed > allowed:
        raise PlanError(
            f"{len(annotations)} annotated voxels of {stack.n_columns} features need {needed >> 20} MiB, but "
            f"training_memory allows {allowed >> 20} MiB; draw less, choose fewer features, or raise "
            "VOXELFOREST_TRAINING_MEMORY",
            code="training_memory",
        )
    rows = np.empty((len(annotations), stack.n_columns), np.float32)
    cells = list(annotations.cells(CELL))
    with progress.stage("features", blocks=len(cells), voxels=len(annotations)) as stage:
        for box, numbers in cells:
            outer = box.grow(stack.halo_zyx, image.whole)
            core = list(zip(box.start[1:], box.stop[1:], strict=True))
            z, y, x = (annotations.places[numbers] - np.array(box.start)).T[1:]
            for plane, slab in slabs(image.read(outer)[0], outer.start[1:], image.whole.shape[1:], core, stack):
                first = plane - box.start[1]
                here = (z >= first) & (z < first + slab.shape[1])
                rows[numbers[here]] = slab[:, z[here] - first, y[here], x[here]].T
            stage.advance(len(numbers))
    return rows


def _take_drawing(image: Image, labels: Any, lane: int | None, progress: Progress) -> Drawing:
    shape = image.whole.shape
    if isinstance(labels, str | os.PathLike):
        return read_labels(labels, shape, lane)
    if isinstance(labels, Volume):
        return Drawing(read_annotations(labels, shape, progress))
    dims = "".join(map(str, labels.dims)) if hasattr(labels, "dims") else image.dims.replace("c", "")
    if hasattr(labels, "encoding") and (volume := volume_of(labels)) is not None:
        return Drawing(read_annotations(volume, shape, progress))
    values = np.asarray(labels)
    if len(dims) != values.ndim or not set(dims) <= set(ORDER):
        raise shape_error("the labels", values.shape, shape)
    lengths = dict(zip(dims, values.shape, strict=True))
    if lengths.pop("c", 1) != 1 or tuple(lengths.get(axis, 1) for axis in AXES) != shape:
        raise shape_error("the labels", values.shape, shape)
    return Drawing(Annotations.of_array(values, dims))


def _check_classes(annotations: Annotations) -> None:
    found = annotations.found
    if len(found) < 2:
        said = f"{len(annotations)} voxels of label {found[0]} alone" if found else "no voxel at all"
        raise PlanError(f"annotations of {said}; training needs at least two labels", code="labels")


def _select(
    features: str | Sequence[str] | FeatureSelection | None,
    scales: Sequence[float] | None,
    drawing: Drawing,
    image: Image,
) -> FeatureSelection:
    if features is None and scales is None and drawing.features is not None:
        features = drawing.features
    if isinstance(features, FeatureSelection):
        if scales is not None:
            raise PlanError("scales besides an exact selection of features; give one of the two", code="features")
        selection = features
    else:
        selection = choose_features(features or "standard", scales, image.whole.shape[1:])
    selection.check_size(*image.whole.shape[1:])
    return selection


def _fit(rows: Rows, labels: npt.NDArray[np.uint8], trees: int, seed: int) -> RandomForestClassifier:
    from sklearn.ensemble import RandomForestClassifier

    candidates = max(1, int(rows.shape[1] ** 0.5 + 0.5))  # vigra rounds, scikit-learn's "sqrt" would cut off
    model = RandomForestClassifier(trees, max_features=candidates, oob_score=True, random_state=seed, n_jobs=-1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Some inputs do not have OOB scores", UserWarning)  # left out of the score
        return model.fit(rows, labels)


def _name_classes(
    drawing: Drawing, names: Sequence[str] | None, colors: Sequence[Color] | None
) -> tuple[tuple[str, ...], tuple[Color, ...]]:
    """A name and a colour for each label up to the highest, those that were given first."""
    highest = drawing.annotations.found[-1]
    chosen = tuple(names or drawing.class_names or [f"Label {label}" for label in range(1, highest + 1)])
    if len(chosen) < highest or len(set(chosen)) < len(chosen) or not all(chosen):
        raise PlanError(
            f"class names {', '.join(chosen)} for labels up to {highest}; each label needs one of its own",
            code="labels",
        )
    given = list(colors or drawing.class_colors)[: len(chosen)]
    more = [DEFAULT_COLORS[k % len(DEFAULT_COLORS)] for k in range(len(given), len(chosen))]
    return chosen, (*given, *more)


def _conclude(image: Image, annotations: Annotations, stage: Stage, model: RandomForestClassifier) -> Training:
    votes = model.oob_decision_function_
    seen = np.nan_to_num(votes).sum(axis=1) > 0
    truth = np.searchsorted(model.classes_, annotations.labels[seen])
    said = votes[seen].argmax(axis=1)
    confusion = np.zeros((len(model.classes_),) * 2, np.int64)
    np.add.at(confusion, (truth, said), 1)
    names = stage.features.names(image.n_channels, image.depth)
    importances = sorted(zip(names, model.feature_importances_.tolist(), strict=True), key=lambda pair: -pair[1])
    trained_on = image.describe()
    project = Project("a training", WORKFLOW, ILASTIK_VERSION, trained_on.axes, trained_on.shape, (stage,))
    score = float((truth == said).mean()) if seen.any() else None
    return Training(project, trained_on, annotations, score, confusion, tuple(importances))
