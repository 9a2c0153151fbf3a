"""Intensities as the two pipelines take them: 8 bits, and how many bits a channel may have."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from numba_ops._jit import freeze
from numba_ops.boxes import scale_to_bytes
from pipeline.analyses.channels import ChannelSet
from pipeline.errors import ChannelError

ALLOWED = ("uint8", "uint16", "uint32", "uint64")


def check_types(channels: ChannelSet) -> None:
    """Refuse channels that are no unsigned integers.

    Raises
    ------
    ChannelError
        With the code ``dtype``, naming the channel.
    """
    for name, volume in channels.items():
        if volume.dtype.name not in ALLOWED:
            text = f"channel {name} is {volume.dtype}; allowed are {', '.join(ALLOWED)}"
            raise ChannelError(f"{text}: convert it, since its range is not known", code="dtype")


def to_bytes(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Unsigned integers on the scale 0..255: ``255 * v / largest`` of their type, truncated.

    Parameters
    ----------
    values : ndarray, unsigned

    Returns
    -------
    ndarray, uint8
        Of the same shape.

    Notes
    -----
    Source: reference/nomads/SEMANTICS section 3, step 2.
    """
    if values.dtype == np.uint8:
        return values
    out = np.empty(values.shape, np.uint8)
    scale_to_bytes(freeze(values).reshape(-1), float(np.iinfo(values.dtype).max), out.reshape(-1))
    return out
