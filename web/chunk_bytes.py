"""Chunks as the bytes that a dialect wants.

zarr wants each chunk in its full shape, those at the end filled up, here with zstd of level 1, as runs write it:
3 ms of CPU for a MiB of probabilities, which computing takes a second for, and a third of the bytes on the way and in
the cache (3 MiB in 10 ms to 0.97 MB; gzip takes 29 ms for 1.07 MB; labels shrink to a fourteenth).
precomputed wants chunks clipped, in Fortran order over x, y, z, c, which is C order over c, z, y, x. It knows no
codec; where the client takes it, numbers of classes and objects go with gzip in Content-Encoding (2 MiB of labels in
4 ms to 43 kB). Probabilities and raw data do not: gzip takes three times as long as zstd, and for noise gains nothing.
"""

from __future__ import annotations

import gzip
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from pipeline.chunks import ZSTD_LEVEL

Array = npt.NDArray[Any]

GZIP_LEVEL = 1


def zarr_bytes(values: Array, shape: tuple[int, ...]) -> bytes:
    """A chunk of zarr v2 or v3.

    Parameters
    ----------
    values : ndarray
        The chunk, clipped at the level's end.
    shape : tuple of int
        Shape of a chunk; what lies behind the end is 0.
    """
    if values.shape != shape:
        padded = np.zeros(shape, values.dtype)
        padded[tuple(slice(n) for n in values.shape)] = values
        values = padded
    return bytes(imagecodecs.zstd_encode(_little(values).tobytes(), level=ZSTD_LEVEL))


def precomputed_bytes(values: Array) -> bytes:
    """A chunk of a precomputed volume, axes of the layer in canonical order without t, or with one point of it."""
    return _little(values).tobytes()


def gzipped(body: bytes) -> bytes:
    """A body for Content-Encoding; the same bytes whenever it is made."""
    return gzip.compress(body, GZIP_LEVEL, mtime=0)


def _little(values: Array) -> Array:
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
