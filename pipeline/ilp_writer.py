"""Writing project files that ilastik, and `open_project`, can read (SEMANTICS 14).

HDF5's earliest format is used throughout: older libraries cannot read the boolean datasets of later ones.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from pipeline.annotations import Annotations
from pipeline.axes import reorder
from pipeline.blocks import AXES
from pipeline.errors import StoreError
from pipeline.ilp_forest import encode_tree
from pipeline.project import WORKFLOW_STAGES, Stage

ILASTIK_VERSION = "1.4.1"
NOT_STORED = "training-image"  # the path of an image that is in no file
_LABEL_BLOCK = 128
_TYPE_FLAGS = {"t": 8, "c": 1}
_SPACE = 2

_CLASSIFIER_TYPE = "clazyflow.classifiers.parallelVigraRfLazyflowClassifier\nParallelVigraRfLazyflowClassifier\np0\n."
# ilastik reads this text with regular expressions, so its lines must stay as they are
_FACTORY = (
    "ccopy_reg\n_reconstructor\np0\n(clazyflow.classifiers.parallelVigraRfLazyflowClassifier\n"
    "ParallelVigraRfLazyflowClassifierFactory\np1\nc__builtin__\nobject\np2\nNtp3\nRp4\n(dp5\n"
    "VVERSION\np6\nI2\nsV_num_trees\np7\nI{trees}\nsV_label_proportion\np8\nNsV_variable_importance_path\np9\n"
    "NsV_variable_importance_enabled\np10\nI00\nsV_kwargs\np11\n(dp12\nsV_num_forests\np13\nI{groups}\nsb."
)


@dataclass(frozen=True)
class TrainingImage:
    """The image a project was trained on.

    Parameters
    ----------
    path : str
        As ilastik should find it, relative to the project or absolute; an HDF5 dataset follows its file:
        ``raw.h5/volume``.
    axes : str
        Its axes in stored order, each of t c z y x at most once.
    shape : tuple of int
        Lengths along `axes`.
    """

    path: str
    axes: str
    shape: tuple[int, ...]

    def length(self, axis: str) -> int:
        """Length along an axis, 1 if the image has none of that name."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1


def write_project(
    path: str | os.PathLike[str],
    stages: Sequence[Stage],
    image: TrainingImage,
    *,
    annotations: Sequence[Annotations] = (),
    n_rows: int = 0,
    overwrite: bool = False,
) -> None:
    """Write a trained project; it appears under its name only when it is complete.

    Parameters
    ----------
    path : path-like
        The .ilp file to make.
    stages : sequence of Stage
        One for pixel classification, two for Autocontext.
    image : TrainingImage
        What it was trained on.
    annotations : sequence of Annotations
        For each stage what was drawn; kept for those who go on training in ilastik.
    n_rows : int
        Number of annotated voxels; informative.
    overwrite : bool
        Whether a file of that name may be replaced.

    Raises
    ------
    StoreError
        If `path` exists and may not be replaced, or cannot be written.
    ValueError
        If the parts do not fit each other.

    Notes
    -----
    Where the selection leaves 2-D or 3-D to the image (`compute_in_2d` is None), what it means for this image is
    written: ilastik asks for it.
    """
    _check_parts(stages, image)
    _check_annotations(stages, image, annotations)
    final = Path(path)
    if final.exists() and not overwrite:
        raise StoreError(f"{final} exists; choose another name or allow overwriting")
    partial = final.with_name(f"{final.name}.{uuid.uuid4().hex}.partial")
    try:
        with h5py.File(partial, "x", libver="earliest") as file:
            _write_all(file, stages, image, n_rows)
            for k, labels in enumerate(annotations):
                lane = file[f"PixelClassification{_suffix(k)}/LabelSets/labels000"]
                _write_annotations(lane, labels, image.axes.replace("c", ""))
        os.replace(partial, final)
    except OSError as error:
        raise StoreError(f"cannot write the project {final}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _check_parts(stages: Sequence[Stage], image: TrainingImage) -> None:
    if len(stages) not in WORKFLOW_STAGES.values():
        raise ValueError(f"a project has one stage or two, not {len(stages)}")
    if len(image.axes) != len(image.shape):
        raise ValueError(f"axes {image.axes!r} do not fit the shape {image.shape}")
    n_channels = image.length("c")
    for stage in stages:
        columns = stage.features.n_columns(n_channels, image.length("z"))
        if columns != stage.forest.n_columns:
            raise ValueError(f"the features give {columns} columns, the forest has {stage.forest.n_columns}")
        n_channels += len(stage.class_names)


def _check_annotations(stages: Sequence[Stage], image: TrainingImage, annotations: Sequence[Annotations]) -> None:
    if len(annotations) not in (0, len(stages)):
        raise ValueError(f"annotations for {len(annotations)} stages do not fit {len(stages)}")
    shape = tuple(image.length(axis) for axis in AXES)
    for drawn, stage in zip(annotations, stages, strict=False):
        highest = max(drawn.found, default=0)
        if drawn.shape != shape or highest > len(stage.class_names):
            raise ValueError(
                f"annotations must be on an image of shape {shape} with labels up to {len(stage.class_names)}, "
                f"not {drawn.shape} with labels up to {highest}"
            )


def _suffix(stage: int) -> str:
    return f"{stage:02d}" if stage else ""


def _write_all(file: h5py.File, stages: Sequence[Stage], image: TrainingImage, n_rows: int) -> None:
    _put_texts(
        file,
        ilastikVersion=ILASTIK_VERSION,
        workflowName=next(name for name, n in WORKFLOW_STAGES.items() if n == len(stages)),
        time=time.ctime(),
    )
    file["currentApplet"] = np.int64(2)
    _write_input(file.create_group("Input Data"), image)
    n_channels, planes = image.length("c"), image.length("z")
    for k, stage in enumerate(stages):
        _write_features(file.create_group(f"FeatureSelections{_suffix(k)}"), stage, planes)
        group = file.create_group(f"PixelClassification{_suffix(k)}")
        _write_labels(group, stage)
        names = stage.features.names(n_channels, planes)
        _write_classifier(group.create_group("ClassifierForests"), stage, names, n_rows)
        n_channels += len(stage.class_names)
    _put_texts(
        file.create_group("Prediction Export"),
        StorageVersion="0.1",
        OutputFormat="hdf5",
        OutputInternalPath="exported_data",
        OutputFilenameFormat="{dataset_dir}/{nickname}_{result_type}",
    )


def _put_texts(group: h5py.Group, **texts: str) -> None:
    """Scalar strings, as variable-length bytes."""
    for name, value in texts.items():
        group.create_dataset(name, data=value.encode(), dtype=h5py.string_dtype("ascii"))


def _axistags(axes: str) -> str:
    tags = [
        {"key": axis, "typeFlags": _TYPE_FLAGS.get(axis, _SPACE), "resolution": 0, "description": ""} for axis in axes
    ]
    return json.dumps({"axes": tags}, indent=2)


def _write_input(group: h5py.Group, image: TrainingImage) -> None:
    _put_texts(group, StorageVersion="0.2")
    group["Role Names"] = [b"Raw Data", b"Prediction Mask"]
    group.create_group("local_data")
    lane = group.create_group("infos/lane0000")
    lane.create_group("Prediction Mask")
    raw = lane.create_group("Raw Data")
    relative = not os.path.isabs(image.path)
    _put_texts(
        raw,
        __class__="RelativeFilesystemDatasetInfo" if relative else "FilesystemDatasetInfo",
        filePath=image.path,
        location="FileSystem",
        nickname=Path(image.path).stem,
        datasetId=str(uuid.uuid4()),
        axistags=_axistags(image.axes),
        display_mode="default",
        working_scale="",
    )
    raw["shape"] = np.array(image.shape, dtype=np.int64)
    for name, flag in {"allowLabels": True, "normalizeDisplay": False, "scale_locked": False}.items():
        raw[name] = flag


def _write_features(group: h5py.Group, stage: Stage, planes: int) -> None:
    features = stage.features
    _put_texts(group, StorageVersion="0.1")
    group["FeatureIds"] = [name.encode() for name in features.ids]
    group["Scales"] = np.array(features.scales, dtype=np.float64)
    group["SelectionMatrix"] = np.array(features.matrix, dtype=bool)
    group["ComputeIn2d"] = np.array(features.in_2d(planes), dtype=bool)


def _write_labels(group: h5py.Group, stage: Stage) -> None:
    factory = _FACTORY.format(trees=stage.forest.n_trees, groups=stage.forest.n_groups)
    _put_texts(group, StorageVersion="0.1", ClassifierFactory=factory)
    group["LabelNames"] = [name.encode() for name in stage.class_names]
    for name in ("LabelColors", "PmapColors"):
        group[name] = np.array(stage.class_colors, dtype=np.int64)
    for name in ("LabelNames", "LabelColors", "PmapColors"):
        group[name].attrs["isEmpty"] = False
    group.create_group("LabelSets/labels000")


def _write_annotations(lane: h5py.Group, annotations: Annotations, axes: str) -> None:
    for number, (start, block) in enumerate(annotations.blocks(_LABEL_BLOCK)):
        dataset = lane.create_dataset(f"block{number:04d}", data=reorder(block, AXES, axes + "c"))
        spans = [f"{start[i]}:{start[i] + block.shape[i]}" for i in map(AXES.index, axes)]
        dataset.attrs["blockSlice"] = f"[{','.join([*spans, '0:1'])}]"
        dataset.attrs["axistags"] = _axistags(axes + "c")


def _write_classifier(group: h5py.Group, stage: Stage, names: Sequence[str], n_rows: int) -> None:
    forest = stage.forest
    for k, number in enumerate(np.unique(forest.group)):
        trees = np.flatnonzero(forest.group == number)
        where = group.create_group(f"Forest{k:04d}")
        where.attrs["vigra_random_forest_version"] = np.array([0.1])
        width = len(str(len(trees) - 1))
        for i, tree in enumerate(trees):
            topology, parameters = encode_tree(forest.tree(int(tree)), forest.n_columns)
            at = where.create_group(f"Tree_{i:0{width}d}")
            at["topology"], at["parameters"] = topology, parameters
        _write_parameters(where, stage, len(trees), n_rows)
    group["known_labels"] = np.array(forest.labels, dtype=np.uint32)
    group["feature_names"] = [name.encode() for name in names]
    _put_texts(group, pickled_type=_CLASSIFIER_TYPE)


def _write_parameters(group: h5py.Group, stage: Stage, n_trees: int, n_rows: int) -> None:
    """What vigra wants to know about a forest, nearly all of it as lists of one float64."""
    forest = stage.forest
    problem = group.create_group("_ext_param")
    _put_numbers(
        problem, column_count_=forest.n_columns, row_count_=n_rows, class_count_=forest.n_classes,
        actual_mtry_=max(1, round(forest.n_columns**0.5)), actual_msample_=n_rows, problem_type_=1, used_=1,
        is_weighted_=1, precision_=0, response_size_=1,
    )  # fmt: skip
    problem["class_weights_"] = np.ones(forest.n_classes)
    problem["labels"] = np.array(forest.labels, dtype=np.uint32)
    _put_numbers(
        group.create_group("_options"), tree_count_=n_trees, min_split_node_size_=1, mtry_=0, mtry_func_=0,
        mtry_switch_=6, predict_weighted_=0, prepare_online_learning_=0, sample_with_replacement_=1,
        stratification_method_=3, training_set_calc_switch_=1, training_set_func_=0, training_set_proportion_=1,
        training_set_size_=0,
    )  # fmt: skip


def _put_numbers(group: h5py.Group, **numbers: float) -> None:
    for name, value in numbers.items():
        group[name] = np.array([value], dtype=np.float64)
