"""Prediction inside a mask: ilastik's role "Prediction Mask".

Where the mask is 0 every result is 0 (a segmentation's 0 is no class); elsewhere it is what it is without a mask.
ilastik multiplies the probabilities by the mask, and the largest of zeros would make its simple segmentation 1 there,
the first class (SEMANTICS 13, from its source). A block whose mask is all zero is neither read nor computed. An
Autocontext project's first stage sees no mask.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.axes import AxesGuessedWarning
from pipeline.blocks import Box
from pipeline.errors import PlanError
from pipeline.prediction import Task, predict_block
from pipeline.volume import Volume, open_raw

Array = npt.NDArray[Any]


def open_mask(path: str | os.PathLike[str], volume: Volume) -> Volume:
    """Open the mask of a volume; a file that names no axes has those of the volume without channels, if they fit.

    Raises
    ------
    VolumeError
        If there is no such file, or its axes cannot be told.
    PlanError
        With the code ``mask``, if it is not one channel of the volume's shape.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AxesGuessedWarning)  # a wrong guess is a wrong shape
        mask = open_raw(path, project_axes=volume.source_axes.replace("c", ""))
    check_mask(mask, volume)
    return mask


def check_mask(mask: Volume, volume: Volume) -> None:
    """Refuse a mask that is not one channel of the volume's shape.

    Raises
    ------
    PlanError
        With the code ``mask``; names both.
    """
    if mask.whole != volume.whole or mask.n_channels != 1:
        raise PlanError(
            f"the mask {mask.url} is {_lengths(mask)}, the volume {volume.url} {_lengths(volume)}; "
            "they must have the same t, z, y, x, and the mask one channel",
            code="mask",
        )


def masked_digest(digest: str, mask: Volume | None) -> str:
    """The digest of a run with a mask; that of the run itself without one."""
    return digest if mask is None else hashlib.sha256(f"{digest} mask {mask.digest}".encode()).hexdigest()


def predict_inside(task: Task, mask: Volume | None, box: Box) -> dict[str, Array]:
    """`pipeline.prediction.predict_block` inside a mask.

    Raises
    ------
    ReadError
        If data of the volume or the mask is damaged.
    """
    if mask is None:
        return predict_block(task, box)
    inside = mask.read(box) > 0
    if not inside.any():
        return {result.name: _empty(result.channels, result.dtype, box) for result in task.results}
    results = predict_block(task, box)
    if not inside.all():
        for values in results.values():
            values *= inside if values.ndim == inside.ndim else inside[:, 0]
    return results


def _empty(channels: tuple[str, ...], dtype: str, box: Box) -> Array:
    t, z, y, x = box.shape
    return np.zeros((t, len(channels), z, y, x) if channels else box.shape, dtype)


def _lengths(volume: Volume) -> str:
    return " ".join(f"{axis}={n}" for axis, n in zip(volume.dims, volume.shape, strict=True))
