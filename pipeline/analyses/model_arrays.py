"""The arrays of a classifier's file, checked once; docs/reference/models.md describes them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.analyses.tree_arrays import TREE_ARRAYS, decode_forest
from pipeline.errors import ModelError
from pipeline.forest import Forest

FORMAT = "voxelforest-cubes"
VERSION = 1
ARRAYS = ("format", "version", "channels", "half_widths", "class_names", "components", *TREE_ARRAYS)
LARGEST_HALF = 127  # voxels from the middle of a cube, along an axis
MOST_NAMES = 254  # 0 is what is not classified, and a class map holds uint8
LONGEST_NAME = 100
Arrays = Mapping[str, npt.NDArray[Any]]


class Parts(NamedTuple):
    """What the arrays say, every number of it checked."""

    channels: tuple[str, ...]
    half_widths: tuple[int, int, int]
    class_names: tuple[str, ...]
    components: npt.NDArray[np.float64]
    forest: Forest


def decode_parts(arrays: Arrays) -> Parts:
    """Check all arrays, and that they fit each other.

    Raises
    ------
    ModelError
        With the code ``bad_model``; the message is the rest of a sentence that begins with the name of the file.
    """
    missing = [name for name in ARRAYS if name not in arrays]
    if missing:
        raise _refuse(f"has no array {', '.join(missing)}")
    if str(arrays["format"]) != FORMAT or arrays["version"].tolist() != VERSION:
        written = f"{str(arrays['format'])!r:.40} {arrays['version']!s:.20}"
        raise _refuse(f"is of the format {written}; {FORMAT!r} {VERSION} is read")
    channels, class_names = _texts(arrays, "channels"), _texts(arrays, "class_names")
    half_widths = _half_widths(arrays)
    components = _components(arrays, len(channels), half_widths)
    forest = decode_forest(arrays, len(components))
    if len(class_names) != forest.n_classes:
        raise _refuse(f"has {len(class_names)} class_names for {forest.n_classes} classes")
    return Parts(channels, half_widths, class_names, components, forest)


def digest_of(arrays: Arrays) -> str:
    """32 hexadecimal digits over all arrays, whatever types of integers they are written with."""
    digest = hashlib.sha256()
    for name in ARRAYS:
        values = arrays[name]
        if values.dtype.kind == "U":
            contents = repr(values.tolist()).encode("utf-8", "surrogatepass")
        else:
            kind = np.float64 if values.dtype.kind == "f" else np.int64
            contents = np.ascontiguousarray(values, kind).tobytes()
        digest.update(f"{name} {values.shape} {len(contents)} ".encode() + contents)
    return digest.hexdigest()[:32]


def _refuse(what: str) -> ModelError:
    return ModelError(what, "bad_model")


def _texts(arrays: Arrays, name: str) -> tuple[str, ...]:
    values = arrays[name]
    if values.dtype.kind != "U" or values.ndim != 1 or not 1 <= len(values) <= MOST_NAMES:
        raise _refuse(f"has an array {name} that is no list of 1 to {MOST_NAMES} names")
    texts = tuple(values.tolist())
    if not all(text.isprintable() and 1 <= len(text) <= LONGEST_NAME for text in texts):
        raise _refuse(f"has a name in {name} that is empty, longer than {LONGEST_NAME}, or not printable")
    if len({text.lower() for text in texts}) != len(texts):
        raise _refuse(f"has a name twice in {name}: {', '.join(texts)}")
    return texts


def _half_widths(arrays: Arrays) -> tuple[int, int, int]:
    values = arrays["half_widths"]
    if values.dtype.kind not in "iu" or values.shape != (3,) or ((values < 0) | (values > LARGEST_HALF)).any():
        raise _refuse(f"has half_widths that are not three whole numbers (z, y, x) from 0 to {LARGEST_HALF}")
    z, y, x = values.tolist()
    return z, y, x


def _components(arrays: Arrays, channels: int, half_widths: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    values = arrays["components"]
    if values.dtype != np.float64 or values.ndim != 2 or 0 in values.shape:
        raise _refuse(f"has components of {values.dtype} and shape {values.shape}, not float64 of (k, n)")
    cube = tuple(2 * half + 1 for half in half_widths)
    if values.shape[1] != channels * math.prod(cube):
        needed = f"cubes {cube} of {channels} channels have {channels * math.prod(cube)}"
        raise _refuse(f"has components for {values.shape[1]} voxels; {needed}")
    if not np.isfinite(values).all():
        raise _refuse("has components that are no finite numbers")
    return values
