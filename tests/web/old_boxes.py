"""Asking for boxes as the clients of ilastik-backend do, and what has to come back."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from tests.servers import Address, Reply

Array = npt.NDArray[Any]


def ask_box(server: Address, route: str, start: Sequence[int], stop: Sequence[int]) -> Reply:
    """Ask a route for a box, (t, x, y, z, c) or fewer."""
    low, high = ("_".join(map(str, numbers)) for numbers in (start, stop))
    return server.ask(f"{route}?extents_min={low}&extents_max={high}")


def values_of(reply: Reply, dtype: str, shape: Sequence[int]) -> Array:
    """The array of a raw body."""
    assert reply.status == 200, reply.text
    assert reply.headers["Content-Type"] == "application/octet-stream"
    return np.frombuffer(reply.body, dtype).reshape(shape)


def picture_of(reply: Reply) -> Array:
    """The pixels of a png or tiff body, (height, width) or (height, width, channels)."""
    assert reply.status == 200, reply.text
    if reply.headers["Content-Type"] == "image/tiff":
        with tifffile.TiffFile(io.BytesIO(reply.body)) as file:
            assert file.pages.first.compression == tifffile.COMPRESSION.LZW
        return np.asarray(tifffile.imread(io.BytesIO(reply.body)))
    assert reply.headers["Content-Type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(reply.body)))


def dataset_of(reply: Reply) -> Array:
    """The one dataset of an hdf5 body; contiguous, without attributes."""
    assert reply.status == 200, reply.text
    with h5py.File(io.BytesIO(reply.body), "r") as file:
        assert list(file) == ["exported_data"]
        data = file["exported_data"]
        assert data.chunks is None
        assert dict(data.attrs) == {}
        return data[()]


def stretched(values: Array) -> Array:
    """Smallest value to 0, largest to 255, halves up."""
    exact = values.astype(np.float64)
    low, high = exact.min(), exact.max()
    if low == high:
        return np.zeros(values.shape, np.uint8)
    return np.floor((exact - low) / (high - low) * 255 + 0.5).astype(np.uint8)


def problem_of(reply: Reply, status: int) -> dict[str, Any]:
    """The problem document of a refusal."""
    assert reply.status == status, reply.text
    assert reply.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = reply.document
    assert document["status"] == status
    assert document["detail"]
    return document
