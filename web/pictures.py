"""Values as pictures: which axes make the plane, how values become brightness or colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from web.errors import HttpError

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]
MOST_CHANNELS = 4
HASH = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: neighbouring ids get far-apart colours


def take_plane(array: Array, dims: str, prefer: str) -> Array:
    """The plane that an array is, with its channels last.

    Parameters
    ----------
    array : ndarray
        One dimension for each letter of `dims`.
    dims : str
    prefer : str
        Axes to make the plane of where fewer than two are longer than 1, the most wanted first.

    Returns
    -------
    ndarray, (first axis of the plane, second, channels)
        The axes in the order of `dims`.

    Raises
    ------
    HttpError
        400, if it is not one plane, or has more than 4 channels.
    """
    lengths = dict(zip(dims, array.shape, strict=True))
    chosen = [axis for axis in dims if axis != "c" and lengths[axis] > 1]
    chosen += [axis for axis in prefer if axis in dims and axis not in chosen][: max(0, 2 - len(chosen))]
    sizes = ", ".join(f"{axis}={lengths[axis]}" for axis in dims)
    if len(chosen) > 2:
        raise HttpError(
            f"a picture is one plane, this is {sizes}; ask for one plane, or for raw or hdf5",
            400,
            code="plane",
            given=sizes,
            allowed="two axes longer than 1 at most, beside c",
        )
    if lengths.get("c", 1) > MOST_CHANNELS:
        raise HttpError(
            f"a picture has 1 to {MOST_CHANNELS} channels, this is {sizes}; choose some, or ask for raw or hdf5",
            400,
            code="channels",
            given=sizes,
            allowed=f"c of 1 to {MOST_CHANNELS}",
        )
    order = [dims.index(axis) for axis in dims if axis in chosen]
    rest = [i for i in range(array.ndim) if i not in order and dims[i] != "c"]
    last = [dims.index("c")] if "c" in dims else []
    plane = array.transpose([*rest, *order, *last])[(0,) * len(rest)]
    return plane if last else plane[..., np.newaxis]


def stretch(values: Array) -> Pixels:
    """Smallest value to 0, largest to 255, linearly, halves up; what is constant, or no number, becomes 0."""
    exact = values.astype(np.float64)
    finite = np.isfinite(exact)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = exact[finite].min(), exact[finite].max()
    if low == high:
        return np.zeros(values.shape, np.uint8)
    return scale(exact, (low, high))


def scale(values: Array, window: tuple[float, float]) -> Pixels:
    """Values of a window as 0 to 255, halves up; what lies outside becomes the nearer end, no number 0."""
    low, high = window
    with np.errstate(invalid="ignore", over="ignore"):
        share = (values.astype(np.float64) - low) * (255.0 / (high - low))
    return np.floor(np.clip(np.nan_to_num(share, nan=0.0, posinf=255.0, neginf=0.0), 0.0, 255.0) + 0.5).astype(np.uint8)


def mix_classes(probabilities: Array, colors: Sequence[Sequence[int]]) -> Pixels:
    """Probabilities (height, width, classes) as the mix of the classes' colours, (height, width, 3)."""
    shares = np.clip(np.nan_to_num(probabilities.astype(np.float64)), 0.0, 1.0)
    return np.floor(np.clip(shares @ np.asarray(colors, np.float64), 0.0, 255.0) + 0.5).astype(np.uint8)


def paint_classes(values: Array, colors: Sequence[Sequence[int]]) -> Pixels:
    """Class numbers 1, 2, ... (height, width) in their colours, (height, width, 3); any other number is black."""
    table = np.zeros((len(colors) + 1, 3), np.uint8)
    table[1:] = np.asarray(colors, np.uint8)
    known = np.where((values >= 0) & (values <= len(colors)), values, 0)
    return table[known.astype(np.intp)]


def paint_labels(values: Array) -> Pixels:
    """Ids (height, width) in colours of their own, (height, width, 4); 0 is transparent."""
    with np.errstate(over="ignore"):
        mixed = values.astype(np.uint64) * HASH
        mixed ^= mixed >> np.uint64(29)
    parts = [(mixed >> np.uint64(shift)).astype(np.uint8) | 0x40 for shift in (8, 16, 24)]
    pixels = np.stack([*parts, np.full(values.shape, 255, np.uint8)], axis=-1)
    pixels[values == 0] = 0
    return pixels
