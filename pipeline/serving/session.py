"""The Dask client of one process: made when it is first needed, made again when its scheduler went away for good."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from distributed import Client, Future

from pipeline.cluster import connect, count_threads
from pipeline.errors import ClusterError
from pipeline.serving.recipe import keep

INSIDE = "inproc://"


class Session:
    """One process's connection to where blocks are computed; safe to use from several threads.

    A client that was made before a fork would hang in the child, so each process makes its own.

    Parameters
    ----------
    scheduler : str
        ``threads`` for a worker inside this process, ``local`` or the address of a scheduler.
    workers : int, optional
        As `pipeline.cluster.connect` takes it.
    on_start : callable, optional
        Called with each client that is made.
    """

    def __init__(
        self,
        scheduler: str = "threads",
        workers: int | None = None,
        on_start: Callable[[Client], None] | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._workers = workers
        self._on_start = on_start
        self._lock = threading.RLock()
        self._stack: contextlib.ExitStack | None = None
        self._client: Client | None = None
        self._process = 0
        self._shared: dict[str, Future] = {}
        self._renewals: dict[str, int] = {}
        self._threads = 1
        self._inside = False
        self._failure: tuple[float, ClusterError] | None = None
        self.generation = 0

    def client(self) -> Client:
        """The client of this process.

        Raises
        ------
        ClusterError
            If the scheduler does not answer or has no workers; whoever waited meanwhile is told the same, rather than
            try one after the other.
        """
        asked = time.monotonic()
        with self._lock:
            if not self.alive:
                if self._failure is not None and self._failure[0] > asked:
                    raise ClusterError(self._failure[1].message, self._failure[1].code)
                self._start()
            assert self._client is not None
            return self._client

    @property
    def alive(self) -> bool:
        """Whether there is a client that can be used."""
        client = self._client
        return client is not None and self._process == os.getpid() and client.status == "running"

    @property
    def inside(self) -> bool:
        """Whether results lie in this very process, so that a reference to one costs nothing."""
        return self._inside

    @property
    def threads(self) -> int:
        """Threads that compute blocks, as many as there were when this was last asked of the scheduler; 1 at least."""
        return self._threads

    def count_threads(self) -> int:
        """Ask the scheduler how many threads compute blocks."""
        self._threads = max(count_threads(self.client()), 1)
        return self._threads

    def share(self, key: str, value: Any) -> Future:
        """A value that many tasks take, sent to each worker once.

        It is the result of a task rather than scattered data: Dask makes it again when the worker that holds it dies.
        """
        with self._lock:
            client = self.client()
            if key not in self._shared:
                again = self._renewals.get(key, 0)
                self._shared[key] = client.submit(keep, value, key=f"{key}-again{again}" if again else key)
            return self._shared[key]

    def renew(self, task_key: str) -> bool:
        """Send a shared value again, under another key, when it is next asked for.

        Dask gives a task up after some deaths of workers that held it, whatever they died of.

        Parameters
        ----------
        task_key : str
            Of the task that was given up.

        Returns
        -------
        bool
            Whether it was that of a shared value, be it one that somebody has renewed meanwhile.
        """
        with self._lock:
            for key, future in list(self._shared.items()):
                if future.key == task_key:
                    self._renewals[key] = self._renewals.get(key, 0) + 1
                    del self._shared[key]
            return task_key.partition("-again")[0] in {*self._shared, *self._renewals}

    def close(self) -> None:
        """Give up the client, and the cluster that was made for it."""
        with self._lock:
            stack, self._stack, self._client = self._stack, None, None
            self._shared.clear()
            if stack is not None and self._process == os.getpid():
                stack.close()

    def _start(self) -> None:
        self.close()
        stack = contextlib.ExitStack()
        try:
            self._client = stack.enter_context(connect(self._scheduler, self._workers))
        except ClusterError as error:
            self._failure = time.monotonic(), error
            raise
        self._stack, self._process = stack, os.getpid()
        self.generation += 1
        addresses = self._client.nthreads()
        self._threads = max(sum(addresses.values()), 1)
        self._inside = bool(addresses) and all(str(address).startswith(INSIDE) for address in addresses)
        if self._on_start is not None:
            self._on_start(self._client)
