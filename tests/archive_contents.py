"""What an archive of tests holds, and what is to go wrong with it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Index = tuple[int, int, int]
Made = Callable[[Index, Index], Array]  # the voxels of a box in absolute coordinates, (z, y, x)

TOKENS = {"reader": "r", "writer": "rw", "stranger": ""}


@dataclass
class Channel:
    """A channel: an array over the whole frame, or a function of a box."""

    dtype: str
    kind: str
    data: Array | None = None
    make: Made | None = None
    base: int = 0


@dataclass
class Place:
    """An experiment, its coordinate frame and its channels."""

    start: Index
    stop: Index
    spacing: Index
    unit: str
    channels: dict[str, Channel] = field(default_factory=dict)


@dataclass
class Fault:
    """What goes wrong with requests whose line holds `match`: with each `every`-th, `times` times."""

    kind: str
    match: str
    times: float
    every: int = 1
    seen: int = 0


class Archive:
    """What the server holds.

    Parameters
    ----------
    tokens : mapping of token to rights
        ``r`` and ``w``; a token that is not here is unknown.
    """

    def __init__(self, tokens: Mapping[str, str] = TOKENS) -> None:
        self.tokens = dict(tokens)
        self.places: dict[tuple[str, str], Place] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.url = ""

    def add(
        self, name: str, stop: Index, start: Index = (0, 0, 0), spacing: Index = (50, 3, 3), unit: str = "nanometers"
    ) -> Place:
        """An experiment, ``collection/experiment``."""
        collection, experiment = name.split("/")
        place = self.places[collection, experiment] = Place(start, stop, spacing, unit)
        return place

    def add_channel(
        self, name: str, data: Array | Made, dtype: str | None = None, kind: str = "image", base: int = 0
    ) -> None:
        """A channel, ``collection/experiment/channel``; an array reaches over the whole frame."""
        collection, experiment, channel = name.split("/")
        place = self.places[collection, experiment]
        if isinstance(data, np.ndarray):
            made = Channel(str(data.dtype), kind, data=data, base=base)
        else:
            assert dtype is not None
            made = Channel(dtype, kind, make=data, base=base)
        place.channels[channel] = made

    def fail(self, kind: str, match: str = "/cutout/", times: float = 1, every: int = 1) -> None:
        """Let requests fail: a status, drop, cut, short, stall, drip, shape, bomb, long, page, elsewhere, gzip."""
        self.faults.append(Fault(kind, match, times, every))

    def counts(self) -> Counter[str]:
        """Requests by method and service."""
        return Counter(" ".join([line.split()[0], line.split("/")[2]]) for line in self.requests)

    def fault(self, line: str) -> str:
        """What is to go wrong with this request, if anything."""
        with self.lock:
            for fault in self.faults:
                if fault.match in line and fault.times > 0:
                    fault.seen += 1
                    if fault.seen % fault.every == 0:
                        fault.times -= 1
                        return fault.kind
        return ""
