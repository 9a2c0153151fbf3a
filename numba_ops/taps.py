"""Taps of sampled Gaussian derivatives, as ilastik's filters use them.

Pure Python: a plan computes taps once, with the C library's double functions rounded in stages to float32, and they
travel with it, so that no worker's arithmetic can change a bit. Source: SEMANTICS section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

WINDOW_PRESMOOTH = 3.5
WINDOW_FILTER = 2.0


class Orders(NamedTuple):
    """Taps of the derivatives of order 0, 1 and 2 at one sigma.

    Attributes
    ----------
    taps : ndarray, float32
        Right halves, laid end to end.
    at, reach : ndarray, (3,), int64
        Where the taps of each order start, and how far they reach.
    widest : int
        The largest reach.
    common : int
        The reach if it is 1 or 2 for all orders, which has fast code; else 0.
    """

    taps: Any
    at: Any
    reach: Any
    widest: int
    common: int


def lay_out(parts: Sequence[npt.NDArray[np.float32]]) -> Orders:
    """Taps of orders 0, 1, 2 in one array; order 2 may be missing."""
    parts = [*parts, parts[-1]][:3]
    lengths = np.array([len(part) for part in parts], np.int64)
    widest = int(lengths.max()) - 1
    common = widest if widest in (1, 2) and (lengths == widest + 1).all() else 0
    return Orders(np.concatenate(parts), np.cumsum(lengths) - lengths, lengths - 1, widest, common)


def radius(sigma: float, window: float, order: int = 0) -> int:
    """Taps on each side of the centre, voxels.

    Parameters
    ----------
    sigma : float
        Standard deviation, voxels, > 0.
    window : float
        Cut-off in units of sigma.
    order : {0, 1, 2}
        Order of the derivative; derivatives have a radius of at least 1, smoothing may be the identity.

    Examples
    --------
    >>> [radius(math.sqrt(s * s - 1), 3.5) for s in (1.6, 3.5, 5.0, 10.0)]
    [4, 12, 17, 35]
    """
    return max(1 if order else 0, math.floor(window * sigma + 0.5))


def taps(sigma: float, order: int, window: float) -> npt.NDArray[np.float32]:
    """Right half of a sampled Gaussian derivative.

    Parameters
    ----------
    sigma : float
        Standard deviation, voxels, > 0.
    order : {0, 1, 2}
        Order of the derivative. Odd taps are applied to ``right - left``, even ones to ``right + left``.
    window : float
        Cut-off in units of sigma.

    Returns
    -------
    ndarray, (radius + 1,), float32
        Tap of the centre first. A constant passes order 0 unchanged, a unit ramp gives 1 under order 1 and
        ``x**2 / 2`` gives 1 under order 2; there is no factor ``sigma**order``.

    Notes
    -----
    Source: SEMANTICS section 3; the staged rounding to float32 is part of the definition.
    """
    x = range(radius(sigma, window, order) + 1)
    gauss = [math.exp(j * j * (-0.5 / sigma / sigma)) for j in x]
    root = math.sqrt(2.0 * math.pi)
    if order == 0:
        k = [_single(g / (root * sigma)) for g in gauss]
        norm = k[0] + 2.0 * math.fsum(k[1:])
    elif order == 1:
        k = [_single(-j * g / (root * sigma**3)) for j, g in zip(x, gauss, strict=True)]
        norm = 2.0 * math.fsum(j * v for j, v in zip(x, k, strict=True))
    elif order == 2:
        k = [_single(-(1.0 - (j / sigma) ** 2) * g / (root * sigma**3)) for j, g in zip(x, gauss, strict=True)]
        mean = (k[0] + 2.0 * math.fsum(k[1:])) / (2 * len(k) - 1)
        k = [_single(v - mean) for v in k]
        norm = math.fsum(j * j * v for j, v in zip(x, k, strict=True))
    else:
        raise ValueError(f"order {order}: allowed are 0, 1 and 2")
    with np.errstate(invalid="ignore"):  # below a sigma of 0.07, derivatives have no taps but 0, and become NaN
        return (np.array(k) / norm).astype(np.float32)


def presmooth_sigma(scale: float) -> float:
    """Sigma of the smoothing that comes before every filter of a scale, voxels (SEMANTICS section 4)."""
    return math.sqrt(scale * scale - 1.0) if scale > 1.0 else scale


def _single(value: float) -> float:
    return float(np.float32(value))
