"""NumPy's basic indexing, taken apart axis by axis into the range to read and the index into what was read."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class AxisIndex:
    """What an index along one axis needs: the range to read, and the index into what was read."""

    start: int
    stop: int
    inside: Any

    @classmethod
    def of(cls, key: Any, length: int) -> AxisIndex:
        if isinstance(key, slice):
            return cls._of_range(range(*key.indices(length)))
        if isinstance(key, list | np.ndarray):
            chosen = np.arange(length)[key]
            first, last = (int(chosen.min()), int(chosen.max()) + 1) if chosen.size else (0, 0)
            return cls(first, last, chosen - first)
        number = operator.index(key)
        if not -length <= number < length:
            raise IndexError(f"index {number} is out of bounds for an axis of length {length}")
        return cls(number % length, number % length + 1, 0)

    @classmethod
    def _of_range(cls, chosen: range) -> AxisIndex:
        if not chosen:
            return cls(0, 0, slice(None))
        first, last = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1])
        return cls(first, last + 1, slice(None, None, chosen.step))


def full_key(key: Any, ndim: int) -> list[Any]:
    """One index for each of `ndim` axes: an ellipsis, or nothing, stands for whole axes."""
    parts = list(key) if isinstance(key, tuple) else [key]
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), None)
    missing = ndim - len(parts) + (at is not None)
    if missing < 0:
        raise IndexError(f"{len(parts)} indices for {ndim} axes")
    whole = [slice(None)] * missing
    return parts + whole if at is None else parts[:at] + whole + parts[at + 1 :]


def select(values: np.ndarray[Any, Any], keys: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Index each axis on its own; integers drop theirs. (NumPy moves axes where lists and integers come together.)"""
    for axis in reversed(range(len(keys))):
        values = values[(slice(None),) * axis + (keys[axis],)]
    return values
