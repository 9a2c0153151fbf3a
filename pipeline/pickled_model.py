"""A pickled forest of scikit-learn made into plain arrays, nothing in it being executed.

Pickles of scikit-learn 0.19 to today's are read, of any protocol: `pipeline.pickled_values` follows the pickle and
keeps what it says, and the few values that a decision needs are taken from that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.analyses.model import CHANNELS, HALF_WIDTHS, CubeModel, build_model
from pipeline.analyses.tree_arrays import MOST_TREES, NODE_ARRAYS
from pipeline.array_archive import read_array, read_bounded
from pipeline.config import settings
from pipeline.errors import ModelError
from pipeline.pickled_arrays import ALLOWED as ARRAYS_ALLOWED
from pipeline.pickled_arrays import ArrayReader, is_call
from pipeline.pickled_values import Call, Name, PickleReader

FORESTS = frozenset((f"sklearn.ensemble.{module}", "RandomForestClassifier") for module in ("forest", "_forest"))
ESTIMATORS = frozenset((f"sklearn.tree.{module}", "DecisionTreeClassifier") for module in ("tree", "_classes"))
TREES = frozenset({("sklearn.tree._tree", "Tree")})
# How protocols 0 and 1 make an object of a class.
MAKERS = frozenset({("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor")})
OBJECTS = frozenset({("__builtin__", "object"), ("builtins", "object")})
ALLOWED = FORESTS | ESTIMATORS | TREES | MAKERS | OBJECTS | ARRAYS_ALLOWED
_NODES = {
    "children_left": ("left_child", np.int64),
    "children_right": ("right_child", np.int64),
    "feature": ("feature", np.int64),
    "threshold": ("threshold", np.float64),
}


def import_model(
    pickle_path: str | os.PathLike[str],
    components_path: str | os.PathLike[str],
    *,
    channels: Sequence[str] = CHANNELS,
    half_widths: Sequence[int] = HALF_WIDTHS,
    class_names: Sequence[str] | None = None,
) -> CubeModel:
    """A model of a pickled forest and the components that its features are projections onto.

    Parameters
    ----------
    pickle_path : path-like
        A RandomForestClassifier of one output whose classes are whole numbers, written by `pickle.dump`.
    components_path : path-like
        An .npy file, (k, n) of floats.
    channels, half_widths, class_names : sequence, optional
        As for `pipeline.analyses.model.build_model`.

    Raises
    ------
    ModelError
        Code ``bad_pickle`` for everything but such a pickle, ``not_npz`` and ``bad_model`` for components that cannot
        be used or do not fit, ``too_large`` above the setting `model_bytes`.
    """
    most = settings().model_bytes
    components = read_array(components_path, most)
    if components.ndim != 2 or components.dtype.kind != "f":
        what = f"holds {components.dtype} of shape {components.shape}; components are floats, (k, n)"
        raise ModelError(f"{components_path} {what}", "bad_model")
    try:
        trees = decode_pickle(read_bounded(pickle_path, most), most)
    except ModelError as error:
        raise ModelError(f"{pickle_path} {error.message}", error.code) from None
    if int(trees["n_features"]) != len(components):
        what = (
            f"{pickle_path} decides over {int(trees['n_features'])} features, {components_path} has {len(components)}"
        )
        raise ModelError(f"{what} components; they belong to different models", "bad_model")
    names = f"{os.fspath(pickle_path)} with {os.fspath(components_path)}"
    return build_model(
        components.astype(np.float64),
        trees,
        channels=channels,
        half_widths=half_widths,
        class_names=class_names,
        source=names,
    )


def decode_pickle(contents: bytes, most: int) -> Mapping[str, npt.NDArray[Any]]:
    """The arrays of a pickled forest, as `pipeline.analyses.tree_arrays.decode_forest` takes them, and ``n_features``.

    Parameters
    ----------
    contents : bytes
        The pickle.
    most : int
        Bytes that its arrays may take.

    Raises
    ------
    ModelError
        Codes ``bad_pickle`` and ``too_large``; the message is the rest of a sentence that begins with the file's name.
    """
    reader = ArrayReader(most)
    forest = _state(_unwrap(PickleReader(ALLOWED).read(contents)), FORESTS, "is no pickle of a RandomForestClassifier")
    if reader.number(forest.get("n_outputs_"), "n_outputs_") != 1:
        raise _refuse("holds a forest of several outputs; one is needed")
    features = reader.number(forest.get("n_features_in_", forest.get("n_features_")), "number of features")
    classes = reader.array(forest.get("classes_"), "classes_")
    if classes.ndim != 1 or classes.dtype.kind not in "iu":
        raise _refuse("holds a forest whose classes are not whole numbers")
    estimators = forest.get("estimators_")
    if not isinstance(estimators, list) or not 1 <= len(estimators) <= MOST_TREES:
        raise _refuse(f"holds a forest without trees, or of more than {MOST_TREES}")
    trees = [_tree(reader, estimator, number, len(classes)) for number, estimator in enumerate(estimators)]
    return {
        "offsets": np.cumsum([0, *(len(tree["feature"]) for tree in trees)]),
        "classes": classes.astype(np.int64),
        "n_features": np.array(features),
        **{name: np.concatenate([tree[name] for tree in trees]) for name in NODE_ARRAYS},
    }


def _tree(reader: ArrayReader, estimator: object, number: int, classes: int) -> dict[str, npt.NDArray[Any]]:
    what = f"tree {number}"
    state = _state(_unwrap(estimator), ESTIMATORS, f"holds a {what} that is no decision tree")
    tree = _state(state.get("tree_"), TREES, f"holds a {what} without nodes")
    nodes, values = reader.array(tree.get("nodes"), f"{what} nodes"), reader.array(tree.get("values"), f"{what} values")
    fields = nodes.dtype.names or ()
    if nodes.ndim != 1 or not all(name in fields for name, _ in _NODES.values()):
        raise _refuse(f"holds a {what} whose nodes are not scikit-learn's")
    if values.shape != (len(nodes), 1, classes) or values.dtype.kind != "f":
        raise _refuse(
            f"holds a {what} whose values are {values.dtype} of {values.shape}, not {(len(nodes), 1, classes)}"
        )
    columns = {}
    for name, (field, kind) in _NODES.items():
        if nodes[field].dtype.kind != np.dtype(kind).kind:
            raise _refuse(f"holds a {what} whose {field} is of type {nodes[field].dtype}")
        columns[name] = nodes[field].astype(kind)
    return {**columns, "value": values[:, 0].astype(np.float64)}


def _unwrap(value: object) -> object:
    """The object that protocols 0 and 1 make by a function, as one of its class."""
    if is_call(value, MAKERS) and value.arguments and isinstance(value.arguments[0], Name):
        return Call(value.arguments[0], (), value.state)
    return value


def _state(value: object, kinds: frozenset[tuple[str, str]], refusal: str) -> dict[Any, Any]:
    """The attributes of an object of one of these classes."""
    if not is_call(value, kinds) or not isinstance(value.state, dict):
        raise _refuse(refusal)
    return value.state


def _refuse(what: str) -> ModelError:
    return ModelError(what, "bad_pickle")
