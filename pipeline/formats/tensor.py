"""What N5 and precomputed volumes share: arrays that tensorstore reads, in the order x, y, z, turned into z, y, x."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore

from pipeline.config import settings
from pipeline.errors import ReadError, VolumeError
from pipeline.formats.chunk_sizes import BLOSC_HEADER, check_decoded
from pipeline.formats.handles import HANDLES
from pipeline.formats.source import ArraySource, Stamp, one_line, stamp
from pipeline.formats.zarr_folder import check_contained


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorSource(ArraySource):
    """An array that tensorstore reads; chunks that are missing hold zeros.

    Parameters
    ----------
    spec : str
        JSON that tensorstore opens.
    origin : tuple of int
        First voxel, in the order of `shape`; volumes may start anywhere.
    layout : str
        ``"n5"`` or ``"precomputed"``: how chunk files are named.
    folder : str or None
        The local folder of the chunks, None behind a server.
    framed : int
        Most bytes that the Blosc frame of a chunk may say to hold; 0 where chunks are no such frames.
    """

    spec: str
    origin: tuple[int, ...]
    layout: str
    folder: str | None
    framed: int = 0

    def fetch(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        if self.folder is not None:
            self._check_chunks(self.folder, box)
        store = HANDLES.get(("tensor", self.spec, self.fingerprint), lambda: open_store(json.loads(self.spec)))
        places = [slice(s.start + o, s.stop + o) for s, o in zip(box, self.origin, strict=True)][::-1]
        dropped = [0] * (store.ndim - len(places))  # the channel of a volume that has but one
        try:
            data: npt.NDArray[Any] = store[(*places, *dropped)].read().result()
        except ValueError as error:
            raise ValueError(plain_text(error)) from error
        return data.T

    def _check_chunks(self, folder: str, box: tuple[slice, ...]) -> None:
        """Refuse chunks that are links out of the folder: tensorstore would follow them."""
        ranges = [range(s.start // c, -(-s.stop // c)) for s, c in zip(box, self.chunks, strict=True)]
        for index in itertools.product(*ranges):
            check_contained(folder, self._key(index), local=True)
            if self.framed:
                self._check_frame(os.path.join(folder, self._key(index)))

    def _check_frame(self, path: str) -> None:
        """Refuse a Blosc frame of N5 that says to be larger than its block: tensorstore makes room for it first."""
        try:
            with open(path, "rb") as file:
                header = file.read(4 + 4 * len(self.shape) + BLOSC_HEADER)
        except FileNotFoundError:
            return
        check_decoded("blosc", header[-BLOSC_HEADER:], self.framed)

    def _key(self, index: Sequence[int]) -> str:
        """Name of a chunk's file, below `folder`."""
        if self.layout == "n5":
            return "/".join(str(i) for i in reversed(index))
        edges = zip(index[-3:], self.chunks[-3:], self.shape[-3:], self.origin[-3:], strict=True)
        return "_".join(f"{o + i * c}-{o + min((i + 1) * c, n)}" for i, c, n, o in reversed(list(edges)))


def open_store(spec: dict[str, Any]) -> Any:
    """Open with tensorstore, with bounded tries.

    Raises
    ------
    ReadError
        If it refuses; its text without the specification that it adds.
    """
    tries = {"max_retries": settings().store_retries + 1, "initial_delay": "0.1s", "max_delay": "5s"}
    context = {f"{kind}_request_retries": tries for kind in ("http", "gcs", "s3")}
    try:
        return tensorstore.open({**spec, "context": context, "open": True}, read=True).result()
    except ValueError as error:
        raise ReadError(plain_text(error)) from error


def read_json(place: str, name: str) -> tuple[dict[str, Any], bytes] | None:
    """A JSON document below a local folder or a URL, and its bytes; None if there is none.

    Raises
    ------
    VolumeError
        If it is no JSON object, cannot be had, or lies outside a local folder.
    """
    try:
        if "://" in place:
            store = tensorstore.KvStore.open(place.rstrip("/") + "/").result()
            found = store.read(name).result()
            text = found.value if found.state == "value" else None
        else:
            check_contained(place, name, local=True)
            path = os.path.join(place, name)
            text = _read_file(path) if os.path.isfile(path) else None
        document = json.loads(text) if text is not None else {}
    except (ValueError, RecursionError) as error:
        raise VolumeError(f"{place}/{name}: cannot be read: {plain_text(error)}") from error
    if text is None:
        return None
    if not isinstance(document, dict):
        raise VolumeError(f"{place}/{name}: is not a JSON object")
    return document, text


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def plain_text(error: Exception) -> str:
    """tensorstore's text in one line, without the specification and the places in its source."""
    return one_line(error).split(" [tensorstore_spec")[0].split(" [source locations")[0]


def stamp_of(place: str, name: str) -> tuple[str | None, Stamp | None]:
    """The local file that stands for a volume's state, and that state."""
    path = os.path.join(place, name)
    return (None, None) if "://" in place else (path, stamp(path))


def kvstore(place: str) -> Any:
    """How tensorstore names a local folder or a URL."""
    return place.rstrip("/") + "/" if "://" in place else {"driver": "file", "path": place.rstrip("/") + "/"}


def lengths(values: Any, place: str, what: str) -> tuple[int, ...]:
    """A list of positive lengths from a document, turned around.

    Raises
    ------
    VolumeError
        If it is anything else.
    """
    if not isinstance(values, list) or not all(type(n) is int and 0 < n < 1 << 62 for n in values) or not values:
        raise VolumeError(f"{place}: {what} are {str(values)[:80]}, not a list of positive numbers")
    return tuple(values[::-1])


def numbers(values: Any, ndim: int) -> list[float]:
    """`ndim` positive numbers from a document, else none."""
    good = isinstance(values, list) and len(values) == ndim
    good = good and all(isinstance(v, int | float) and 0 < v < np.inf for v in values)
    return [float(v) for v in values] if good else []
