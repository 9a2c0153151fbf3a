"""Tells the scheduler that a server's blocks lie on what its cache does, for the scheduler's own pages and metrics."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from distributed import Client

from pipeline.clusters.counters import TOPIC, count_on

PERIOD = 5.0  # seconds


class Publisher:
    """Tells as long as its client lives and somebody wants it.

    Parameters
    ----------
    ask : callable
        Returns the numbers.
    """

    def __init__(self, ask: Callable[[], Mapping[str, Any]]) -> None:
        self._ask = ask
        self._ended = threading.Event()

    def start(self, client: Client) -> None:
        """Begin to tell the scheduler of this client; what was begun before ends."""
        self.stop()
        self._ended = threading.Event()
        arguments = (weakref.ref(client), self._ask, self._ended)
        threading.Thread(target=_tell, args=arguments, name="cache-publisher", daemon=True).start()

    def stop(self) -> None:
        """Tell no more."""
        self._ended.set()


def _tell(client: Callable[[], Client | None], ask: Callable[[], Mapping[str, Any]], ended: threading.Event) -> None:
    process = f"{socket.gethostname()}:{os.getpid()}"
    there = client()
    if there is not None:
        count_on(there)
    del there
    while not ended.is_set():
        there = client()
        if there is None or there.status in ("closing", "closed"):
            return
        with contextlib.suppress(Exception):  # no connection at the moment: the next one tells the same and more
            numbers = {name: float(value) for name, value in ask().items() if isinstance(value, Real)}
            there.log_event(TOPIC, {"process": process, **numbers})
        del there
        ended.wait(PERIOD)
