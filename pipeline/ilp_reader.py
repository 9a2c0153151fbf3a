"""From an ilastik project file (.ilp, HDF5) to a checked `Project`; reads only what prediction needs.

The order of reading decides which refusal is given if several apply: file, workflow, input data, then stage by stage
features and classifier (SEMANTICS 8 and 11). The stored classifier type is a pickle; it is compared as bytes.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ProjectError
from pipeline.features import FeatureSelection
from pipeline.forest import MAX_LABEL, Forest, Tree, join_trees
from pipeline.ilp_file import IlpFile
from pipeline.ilp_forest import MAX_CLASSES, decode_tree
from pipeline.ilp_thresholding import read_thresholding
from pipeline.project import DEFAULT_COLORS, WORKFLOW_STAGES, Project, Stage

_CLASSIFIER = re.compile(rb"clazyflow\.classifiers\.(\w+)\n(\w+)\np[0-9]+\n\.")
_PARALLEL = (b"parallelVigraRfLazyflowClassifier", b"ParallelVigraRfLazyflowClassifier")
_SINGLE = (b"vigraRfLazyflowClassifier", b"VigraRfLazyflowClassifier")
_MAX_TAGS = 100_000


def read_project(path: str | os.PathLike[str]) -> Project:
    """Read a pixel classification or Autocontext project.

    Parameters
    ----------
    path : path-like
        An .ilp file. No code in it is run and no link out of it is followed.

    Raises
    ------
    ProjectError
        Whatever is wrong; `code` is one of SEMANTICS 11, the message names the file and what was expected.
    """
    with IlpFile(path) as file:
        workflow = file.text("workflowName")
        if workflow not in WORKFLOW_STAGES:
            kind = "has no workflow name" if workflow is None else f"is an ilastik project of the workflow {workflow!r}"
            allowed = " and ".join(repr(name) for name in WORKFLOW_STAGES)
            raise file.error("workflow", f"{kind}; only projects of the workflows {allowed} can be used")
        axes, shape = _read_input(file)
        return Project(
            path=str(file.path),
            workflow=workflow,
            version=file.text("ilastikVersion") or "unknown",
            axes=axes,
            shape=shape,
            stages=tuple(_read_stage(file, f"{k:02d}" if k else "") for k in range(WORKFLOW_STAGES[workflow])),
            thresholding=read_thresholding(file),
        )


@contextmanager
def _naming(file: IlpFile, what: str) -> Iterator[None]:
    """Let refusals of parts begin with the file's path and `what` it holds."""
    try:
        yield
    except ProjectError as error:
        if error.message.startswith(str(file.path)):
            raise
        raise file.error(error.code or "not_hdf5", f"{what}: {error.message}") from error


def _read_input(file: IlpFile) -> tuple[str, tuple[int, ...] | None]:
    """Axis names and shape, if stored, of the last lane's raw data."""
    lanes = file.names("Input Data/infos")
    if not lanes:
        raise file.error("no_input_data", "is an ilastik project without input data; add an image in ilastik and train")
    roles = file.strings("Input Data/Role Names") or ["Raw Data"]
    raw = f"Input Data/infos/{lanes[-1]}/{roles[0]}"
    if not file.names(raw):
        raise file.error("no_input_data", f"has an empty {raw!r}; add an image in ilastik, train and save")
    axes = read_axes(file, raw)
    known = axes is not None and set(axes) <= set("tczyx") and {"y", "x"} <= set(axes)
    if axes is None or not known or len(set(axes)) != len(axes):
        raise file.error(
            "bad_input_data",
            f"has unusable axes {axes!r} at {raw!r}; each of t c z y x at most once, y and x, are needed",
        )
    return axes, _read_shape(file, raw, axes)


def read_axes(file: IlpFile, raw: str) -> str | None:
    if not file.has(f"{raw}/axistags"):
        return file.text(f"{raw}/axisorder")
    tags = file.text(f"{raw}/axistags")
    if tags is None or len(tags) > _MAX_TAGS:
        raise file.error("bad_input_data", f"has axistags at {raw!r} that are no short UTF-8 text")
    try:
        keys = [tag["key"] for tag in json.loads(tags)["axes"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise file.error("bad_input_data", f"has axistags at {raw!r} that are not the JSON ilastik writes") from error
    return "".join(key if isinstance(key, str) and len(key) == 1 else "?" for key in keys)


def _read_shape(file: IlpFile, raw: str, axes: str) -> tuple[int, ...] | None:
    stored = file.array(f"{raw}/shape")
    if stored is None:
        return None
    shape = tuple(stored.ravel().tolist()) if stored.dtype.kind in "iu" and stored.size <= len("tczyx") else ()
    if len(shape) != len(axes) or min(shape) < 1:
        raise file.error(
            "bad_input_data", f"has a shape at {raw!r} that is not one length >= 1 for each axis of {axes!r}"
        )
    return shape


def _read_stage(file: IlpFile, suffix: str) -> Stage:
    features = read_features(file, f"FeatureSelections{suffix}")
    where = f"PixelClassification{suffix}"
    with _naming(file, "holds a classifier that cannot be used"):
        forest = _read_classifier(file, f"{where}/ClassifierForests")
    names = read_names(file, where, forest.labels[-1])
    return Stage(features, forest, names, read_colors(file, where, len(names)))


def read_features(file: IlpFile, where: str) -> FeatureSelection:
    parts = [f"{where}/{name}" for name in ("FeatureIds", "Scales", "SelectionMatrix")]
    ids, scales, matrix = (file.array(part) for part in parts)
    if ids is None or scales is None or matrix is None:
        missing = next(part for part, value in zip(parts, (ids, scales, matrix), strict=True) if value is None)
        raise file.error("no_features", f"has no {missing!r}; select features in ilastik, train and save")
    texts = file.strings(parts[0]) if ids.size <= 100 else None
    if texts is None or scales.dtype.kind not in "fiu" or matrix.dtype.kind not in "biu" or matrix.ndim != 2:
        raise file.error(
            "bad_features", f"has a {where!r} that is not a list of ids, one of scales and a matrix of flags"
        )
    flags = _read_flags(file, f"{where}/ComputeIn2d")
    with _naming(file, f"has an unusable {where!r}"):
        if matrix.shape != (len(texts), scales.size):
            raise ProjectError(f"its matrix has shape {matrix.shape}, not {(len(texts), scales.size)}", "bad_features")
        return FeatureSelection(
            ids=tuple(texts),
            scales=tuple(float(scale) for scale in scales.ravel()),
            matrix=tuple(tuple(row) for row in (matrix != 0).tolist()),
            compute_in_2d=flags,
        )


def _read_flags(file: IlpFile, path: str) -> tuple[bool, ...] | None:
    flags = file.array(path)
    if flags is None or flags.size == 0:
        return None
    if flags.dtype.kind not in "biu":
        raise file.error("bad_features", f"has a {path!r} that is no list of flags")
    return tuple((flags.ravel() != 0).tolist())


def _read_classifier(file: IlpFile, where: str) -> Forest:
    if not file.has_group(where):
        raise _untrained(file, where)
    groups = [f"{where}/{name}" for name in _forest_names(file, where)]
    trees: list[Tree] = []
    number: list[int] = []
    size: tuple[int, int] | None = None
    for k, group in enumerate(groups):
        this = _read_size(file, group)
        if size is not None and this != size:
            raise ProjectError(f"{group!r} has (features, classes) {this}, the forests before it {size}", "bad_forest")
        size = this
        here = _read_trees(file, group, *size)
        trees += here
        number += [k] * len(here)
    if size is None:
        raise _untrained(file, where)
    return join_trees(trees, number, _read_labels(file, f"{where}/known_labels", size[1]), size[0])


def _untrained(file: IlpFile, where: str) -> ProjectError:
    return file.error(
        "no_classifier",
        f"is an ilastik project without a trained classifier (no forests at {where!r}); train in ilastik and save",
    )


def _forest_names(file: IlpFile, where: str) -> list[str]:
    path = f"{where}/pickled_type"
    kind = _PARALLEL
    if file.has(path):
        stored = file.array(path)
        raw = b"" if stored is None or stored.size != 1 else _as_bytes(stored)
        match = _CLASSIFIER.fullmatch(raw)
        kind = (match[1], match[2]) if match else (b"", b"")
        if kind not in (_PARALLEL, _SINGLE):
            raise file.error(
                "classifier_type",
                f"holds a classifier of the type {raw[:120]!r}; only ilastik's random forests can be used",
            )
    names = file.names(where)
    if kind == _SINGLE:
        return ["forest"] if "forest" in names else []
    return [name for name in names if name.startswith("Forest")]


def _as_bytes(stored: NDArray[np.generic]) -> bytes:
    value = stored.tobytes() if stored.dtype.kind == "V" else stored.ravel()[0]
    return value.encode() if isinstance(value, str) else bytes(value) if isinstance(value, bytes) else b""


def _read_size(file: IlpFile, where: str) -> tuple[int, int]:
    """Features and classes of a forest, as it says itself."""
    columns, classes = (_read_count(file, f"{where}/_ext_param/{name}_count_") for name in ("column", "class"))
    if columns < 1 or not 1 <= classes <= MAX_CLASSES:
        raise ProjectError(f"{where!r} says {columns} features and {classes} classes", "bad_forest")
    weighted = file.array(f"{where}/_options/predict_weighted_")
    if weighted is not None and (weighted.dtype.kind not in "fiub" or weighted.ravel()[:1].any()):
        raise ProjectError(f"{where!r} asks for weighted prediction, which ilastik does not use", "bad_forest")
    return columns, classes


def _read_count(file: IlpFile, path: str) -> int:
    stored = file.array(path)
    if stored is None or stored.size != 1 or stored.dtype.kind not in "fiu":
        raise ProjectError(f"{path!r} is missing or not one number", "bad_forest")
    value = float(stored.ravel()[0])
    if not (value.is_integer() and abs(value) < 2**31):
        raise ProjectError(f"{path!r} is {value}, not a whole number of reasonable size", "bad_forest")
    return int(value)


def _read_trees(file: IlpFile, where: str, n_columns: int, n_classes: int) -> list[Tree]:
    paths = [f"{where}/{name}" for name in file.names(where) if not name.startswith("_")]
    if not paths:
        raise ProjectError(f"{where!r} holds no trees", "bad_forest")
    trees = []
    for path in paths:
        arrays = file.array(f"{path}/topology"), file.array(f"{path}/parameters")
        try:
            tree = decode_tree(*arrays, n_columns, n_classes)
        except ProjectError as error:
            raise ProjectError(f"in {path!r}, {error.message}", error.code) from error
        file.spend(tree.probability.size, path)
        trees.append(tree)
    return trees


def _read_labels(file: IlpFile, path: str, n_classes: int) -> list[int]:
    if not file.has(path):
        labels = list(range(1, n_classes + 1))
    else:
        stored = file.array(path)
        usable = stored is not None and stored.dtype.kind in "iu" and stored.size == n_classes
        labels = stored.ravel().tolist() if stored is not None and usable else []
    ascending = all(a < b for a, b in itertools.pairwise(labels))
    if not labels or not ascending or labels[0] < 1 or labels[-1] > MAX_LABEL:
        raise ProjectError(
            f"{path!r} is not {n_classes} ascending labels within 1..{MAX_LABEL}, one for each class", "bad_forest"
        )
    return labels


def read_names(file: IlpFile, where: str, least: int) -> tuple[str, ...]:
    """One name for each output channel: those stored, filled up to the highest label that was trained."""
    path = f"{where}/LabelNames"
    stored = None if file.is_marked_empty(path) else file.array(path)
    names: list[str] = []
    if stored is not None and stored.dtype.kind in "SO":
        if stored.size > MAX_LABEL:
            raise file.error("too_large", f"lists {stored.size} labels at {path!r}; ilastik has at most {MAX_LABEL}")
        names = file.strings(path) or [f"Label {k + 1}" for k in range(stored.size)]
    return tuple(names + [f"Label {k + 1}" for k in range(len(names), least)])


def read_colors(file: IlpFile, where: str, n_labels: int) -> tuple[tuple[int, int, int], ...]:
    """A colour for each label; they decide no number, so unusable ones are replaced by ilastik's palette."""
    colors = [DEFAULT_COLORS[k % len(DEFAULT_COLORS)] for k in range(n_labels)]
    try:
        stored = file.array(f"{where}/LabelColors")
    except ProjectError:
        return tuple(colors)
    if stored is None or stored.dtype.kind not in "iu" or stored.ndim != 2 or stored.shape[1] != 3:
        return tuple(colors)
    for k, (red, green, blue) in enumerate(stored[:n_labels].tolist()):
        if all(0 <= value <= MAX_LABEL for value in (red, green, blue)):
            colors[k] = (red, green, blue)
    return tuple(colors)
