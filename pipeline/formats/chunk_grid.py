"""A box put together from the chunks that it touches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Index = tuple[int, ...]


def read_chunks(
    box: tuple[slice, ...],
    chunks: Sequence[int],
    dtype: np.dtype[Any],
    fill: Any,
    decode: Callable[[Index], npt.NDArray[Any] | None],
) -> npt.NDArray[Any]:
    """The voxels of a non-empty box inside an array.

    Parameters
    ----------
    box : tuple of slice
    chunks : sequence of int
        Shape of every chunk, also of those that reach out of the array.
    dtype : dtype
        Of the result.
    fill : number
        What chunks hold that are not there.
    decode : callable
        Gives a whole chunk by its index, None if it is not there.
    """
    start = [s.start for s in box]
    found = np.empty([s.stop - s.start for s in box], dtype)
    grid = [range(s.start // n, -(-s.stop // n)) for s, n in zip(box, chunks, strict=True)]
    for index in itertools.product(*grid):
        first = [i * n for i, n in zip(index, chunks, strict=True)]
        parts = [slice(max(a, s.start), min(a + n, s.stop)) for a, n, s in zip(first, chunks, box, strict=True)]
        target = tuple(slice(p.start - o, p.stop - o) for p, o in zip(parts, start, strict=True))
        inside = tuple(slice(p.start - a, p.stop - a) for p, a in zip(parts, first, strict=True))
        values = decode(index)
        found[target] = fill if values is None else values[inside]
    return found
