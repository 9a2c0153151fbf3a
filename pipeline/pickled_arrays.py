"""NumPy's arrays and numbers as pickles hold them, made from what `pipeline.pickled_values` read.

Only plain numbers, and records of them, become arrays; sizes are checked against the bytes that are there.
"""

from __future__ import annotations

import math
import re
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.pickled_values import Call

_NUMPY = ("numpy._core.multiarray", "numpy.core.multiarray")
_NUMERIC = ("numpy._core.numeric", "numpy.core.numeric")
RECONSTRUCT = frozenset((module, "_reconstruct") for module in _NUMPY)
SCALAR = frozenset((module, "scalar") for module in _NUMPY)
FROM_BUFFER = frozenset((module, "_frombuffer") for module in _NUMERIC)
ENCODE = ("_codecs", "encode")
DTYPE = ("numpy", "dtype")
ALLOWED = RECONSTRUCT | SCALAR | FROM_BUFFER | {ENCODE, DTYPE, ("numpy", "ndarray")}

_NUMBER = re.compile(r"[<>|=]?([biufV])([0-9]{1,4})")
MOST_FIELDS = 100
LARGEST_NUMBER = 1 << 31
Values = npt.NDArray[Any]


def is_call(value: object, names: frozenset[tuple[str, str]]) -> TypeGuard[Call]:
    """Whether a value is the call of one of these."""
    return isinstance(value, Call) and (value.target.module, value.target.name) in names


class ArrayReader:
    """Makes arrays; a byte of the pickle that many of them share counts for each.

    Parameters
    ----------
    most : int
        Bytes of all arrays together.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    def array(self, value: object, what: str) -> Values:
        """The array that a value stands for.

        Raises
        ------
        ModelError
            With the code ``bad_pickle`` if it is none; `what` names it.
        """
        if is_call(value, FROM_BUFFER) and len(value.arguments) == 4:
            data, dtype, shape, order = value.arguments
            return self._make(data, dtype, shape, order == "F", what)
        state = value.state if is_call(value, RECONSTRUCT) else None
        if not isinstance(state, tuple) or len(state) != 5:
            raise _refuse(what, "is no array")
        _, shape, dtype, fortran, data = state
        return self._make(data, dtype, shape, bool(fortran) if type(fortran) in (bool, int) else False, what)

    def number(self, value: object, what: str) -> int:
        """The whole number that a value stands for, Python's or NumPy's."""
        if is_call(value, SCALAR) and len(value.arguments) == 2:
            dtype, data = value.arguments
            made = self._make(data, dtype, (), False, what)
            value = made.item() if made.dtype.kind in "iu" else None
        if not _is_small(value):
            raise _refuse(what, "is no whole number, or out of range")
        return value

    def _make(self, data: object, dtype: object, shape: object, fortran: bool, what: str) -> Values:
        contents, kind = self._bytes(data, what), _dtype(dtype, what)
        if not isinstance(shape, tuple) or len(shape) > 4 or not all(_is_small(n) for n in shape):
            raise _refuse(what, "has no shape")
        if math.prod(shape) * kind.itemsize != len(contents):
            raise _refuse(what, f"has {len(contents)} bytes, not those of its shape")
        return np.frombuffer(contents, kind).reshape(shape, order="F" if fortran else "C")

    def _bytes(self, data: object, what: str) -> bytes | bytearray:
        """Bytes; protocols 0 to 2 write them as a call that would turn a text into them."""
        if is_call(data, frozenset({ENCODE})):
            arguments = data.arguments
            if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] != "latin1":
                raise _refuse(what, "has no bytes")
            self._spend(len(arguments[0]), what)
            try:
                return arguments[0].encode("latin1")
            except UnicodeEncodeError:
                raise _refuse(what, "has no bytes") from None
        if not isinstance(data, bytes | bytearray):
            raise _refuse(what, "has no bytes")
        self._spend(len(data), what)
        return data

    def _spend(self, size: int, what: str) -> None:
        self._left -= size
        if self._left < 0:
            raise ModelError(
                f"has arrays that exceed what a model may take ({what}; VOXELFOREST_MODEL_BYTES)", "too_large"
            )


def _dtype(value: object, what: str) -> np.dtype[Any]:
    """The type that a value stands for: numbers, or records of them."""
    simple = _number_type(value)
    if simple is not None and simple.kind != "V":
        return simple
    state = value.state if isinstance(value, Call) and simple is not None else None
    if not isinstance(state, tuple) or len(state) < 6:
        raise _refuse(what, "is of a type that is no number")
    names, fields, size = state[3:6]
    if not isinstance(names, tuple) or not isinstance(fields, dict) or not 1 <= len(names) <= MOST_FIELDS:
        raise _refuse(what, "is of a type that is no record of numbers")
    formats, offsets = [], []
    for name in names:
        entry = fields.get(name) if isinstance(name, str) else None
        kind, offset = entry if isinstance(entry, tuple) and len(entry) == 2 else (None, None)
        number = _number_type(kind)
        if number is None or number.kind == "V" or not _is_small(offset) or not _is_small(size):
            raise _refuse(what, "is of a type that is no record of numbers")
        formats.append(number)
        offsets.append(offset)
    try:
        return np.dtype({"names": list(names), "formats": formats, "offsets": offsets, "itemsize": size})
    except (ValueError, OverflowError):
        raise _refuse(what, "is of a type whose parts overlap or do not fit") from None


def _number_type(value: object) -> np.dtype[Any] | None:
    """The type of a number, or void of its size; None for everything else."""
    if not is_call(value, frozenset({DTYPE})):
        return None
    arguments, state = value.arguments, value.state
    text = arguments[0] if arguments else None
    found = _NUMBER.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    order = state[1] if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">") else "="
    try:
        return np.dtype(f"{order if found[1] != 'V' else '|'}{found[1]}{int(found[2])}")
    except TypeError:  # a size that no number has
        return None


def _is_small(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number that can be worked with: products of large ones take hours."""
    return type(value) is int and 0 <= value < LARGEST_NUMBER


def _refuse(what: str, why: str) -> ModelError:
    return ModelError(f"is a pickle whose {what} {why}", "bad_pickle")
