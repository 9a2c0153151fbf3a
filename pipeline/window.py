"""Many tasks through a Dask client with a bounded number of them in flight.

The scheduler never holds more than a window of tasks, so first results come at once, memory does not grow with the
number of tasks, and an interrupt loses no more than a window. Tasks write what they make and return a few bytes.
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from asyncio import sleep
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError as LostFuture
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from distributed import Client, Future, KilledWorker, Worker

from pipeline.config import settings
from pipeline.errors import CancelledError, ClusterError, PipelineError, ReadError
from pipeline.lanes import Divisible, Lane, Lanes

Item = TypeVar("Item")

LOOK_SECONDS = 2.0  # between two looks which workers there are
POLL_SECONDS = 0.2  # how soon `cancelled` is noticed


@dataclass(frozen=True)
class Failure(Generic[Item]):
    """An item whose task failed for good, and what it raised last."""

    item: Item
    error: Exception


@dataclass(frozen=True)
class _Attempt(Generic[Item]):
    item: Item
    tries: int
    deaths: int  # how often Dask has given it up, since its workers died
    future: Future
    lane: Lane[Item] | None = None  # None where it is tried again: another worker may fare better


def run_windowed(
    client: Client,
    task: Callable[..., Any],
    items: Iterable[Item] | Divisible[Item],
    *,
    window: int,
    key_prefix: str,
    shared: Sequence[Any] = (),
    retries: int | None = None,
    on_done: Callable[[Item, Any], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    keep_going: type[Exception] | None = None,
) -> list[Failure[Item]]:
    """Run ``task(*shared, item)`` once for each item, at most `window` of them in flight.

    Parameters
    ----------
    task : callable
        A module-level function; it may run twice, or on a worker that dies, and must then give the same.
    items : iterable or Divisible
        Taken lazily, a window ahead. Of work that is divided each worker gets parts of its own, see `pipeline.lanes`.
    window : int
        Tasks submitted and not done, >= 1; a few for each worker thread keep all of them busy.
    key_prefix : str
        Names the tasks; equal names mean equal results, so it holds the digest of all that decides them.
    shared : sequence
        First arguments of every call, sent to each worker once and not with every task; not to be changed by tasks.
    retries : int, optional
        How often a task that raised is run again; `settings().block_retries` by default. A `PipelineError` other than
        a `ReadError` is final at once. A worker that died costs no retry: whether the task or somebody else killed it
        cannot be told, so Dask counts the deaths, and a task that it gave up is begun anew `settings().block_deaths`
        times.
    on_done : callable, optional
        Called here with the item and the task's result, in the order of completion.
    cancelled : callable, optional
        Asked several times a second; true ends the run.
    keep_going : type, optional
        Errors after which the other items are still run, `settings().damaged_blocks` at most.

    Returns
    -------
    list of Failure
        Empty, unless `keep_going` is set and items failed.

    Raises
    ------
    CancelledError
        If `cancelled` said so. On this and on any other exception, `KeyboardInterrupt` included, what is in flight
        is cancelled and tasks that already run are waited for, `settings().cancel_seconds` at most.
    ClusterError
        If an item's task killed its workers, or the scheduler went away.
    Exception
        What the first failing task raised.
    """
    limit = settings().block_retries if retries is None else retries
    run: _Run[Item] = _Run(client, task, key_prefix, shared)
    lanes = Lanes(items, window)
    failures: list[Failure[Item]] = []
    try:
        run.submit_new(lanes)
        while run.flying:
            for attempt, error, result in run.finished(cancelled):
                if error is None:
                    if on_done is not None:
                        on_done(attempt.item, result)
                elif isinstance(error, KilledWorker) and attempt.deaths < settings().block_deaths:
                    run.revive(attempt, error)
                elif attempt.tries <= limit and _may_pass(error):
                    run.repeat(attempt)
                elif keep_going and isinstance(error, keep_going) and len(failures) < settings().damaged_blocks:
                    failures.append(Failure(attempt.item, error))
                else:
                    raise _explained(error, attempt)
            run.submit_new(lanes)
    except BaseException:
        run.abandon()
        raise
    return failures


def _may_pass(error: Exception) -> bool:
    """Whether another try could help."""
    return isinstance(error, ReadError) or not isinstance(error, PipelineError | KilledWorker | LostFuture)


def _explained(error: Exception, attempt: _Attempt[Any]) -> Exception:
    if isinstance(error, KilledWorker):
        deaths = (error.allowed_failures + 1) * (attempt.deaths + 1)
        return ClusterError(
            f"Block {attempt.item} was given up: {deaths} workers died while they computed it. Most often "
            "memory ran out: use fewer workers, or a smaller VOXELFOREST_TASK_MEMORY."
        )
    if isinstance(error, LostFuture):
        return ClusterError("The Dask scheduler went away during the run; what is written stays.")
    return error


class _Run(Generic[Item]):
    """The tasks of one run that are in flight. Used from one thread; Dask's callbacks only fill the queue."""

    def __init__(self, client: Client, task: Callable[..., Any], key_prefix: str, shared: Sequence[Any]) -> None:
        self._client = client
        self._task = task
        self._prefix = key_prefix
        self._values = list(shared)
        # A task's result and not scattered data: Dask makes it again when the worker that holds it dies. The word comes
        # first, since Dask groups tasks by the words that a key begins with: in one group with those that take them,
        # all first tasks went to the few workers that had a value, and ten workers did a tenth less.
        self._shared = [self._share(number, f"shared-{key_prefix}-{number}") for number in range(len(shared))]
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._looked = -math.inf
        self.flying: dict[str, _Attempt[Item]] = {}

    def submit_new(self, lanes: Lanes[Item]) -> None:
        """Submit what there is room for."""
        if lanes.divided and time.monotonic() > self._looked + LOOK_SECONDS:
            self._looked = time.monotonic()
            with contextlib.suppress(Exception):  # a scheduler that is busy, or away for a moment
                threads = self._client.sync(self._client.scheduler.ncores_running, callback_timeout=LOOK_SECONDS)
                lanes.follow(threads, settings().window_per_thread)
        for lane, number, item in lanes.deal(len(self.flying)):
            self._submit(item, tries=1, deaths=0, key=f"{self._prefix}-{number}", lane=lane)

    def repeat(self, attempt: _Attempt[Item]) -> None:
        """Run it again under a new key, since Dask keeps an error under the old one."""
        key = f"{attempt.future.key}-again"
        self._submit(attempt.item, tries=attempt.tries + 1, deaths=attempt.deaths, key=key)

    def revive(self, attempt: _Attempt[Item], error: KilledWorker) -> None:
        """Run it again after deaths of its workers; what was given up may also be a value that it takes."""
        for number, future in enumerate(self._shared):
            if future.key == error.task:
                self._shared[number] = self._share(number, f"{future.key}-anew")
        key = f"{attempt.future.key}-anew"
        self._submit(attempt.item, tries=attempt.tries, deaths=attempt.deaths + 1, key=key)

    def _share(self, number: int, key: str) -> Future:
        return self._client.submit(_keep, self._values[number], key=key)

    def _submit(self, item: Item, *, tries: int, deaths: int, key: str, lane: Lane[Item] | None = None) -> None:
        where = {} if lane is None or lane.address is None else {"workers": lane.address, "allow_other_workers": True}
        future = self._client.submit(self._task, *self._shared, item, key=key, **where)
        self.flying[key] = _Attempt(item, tries, deaths, future, lane)
        future.add_done_callback(lambda done: self._done.put(done.key))

    def finished(self, cancelled: Callable[[], bool] | None) -> Iterator[tuple[_Attempt[Item], Exception | None, Any]]:
        """Wait for the next task to end; yield all that have ended, with error or result."""
        keys = {self._next_key(cancelled)}
        with contextlib.suppress(queue.Empty):
            while True:
                keys.add(self._done.get_nowait())
        attempts = [self.flying.pop(key) for key in keys if key in self.flying]
        for attempt in attempts:
            if attempt.lane is not None:
                attempt.lane.flying -= 1
        good = [attempt for attempt in attempts if attempt.future.status == "finished"]
        try:
            results = dict(zip(good, self._client.gather([attempt.future for attempt in good]), strict=True))
        except Exception:  # a result was lost after it was made; each is asked for alone below
            results = {}
        for attempt in attempts:
            yield (attempt, None, results[attempt]) if attempt in results else (attempt, *_outcome(attempt.future))

    def _next_key(self, cancelled: Callable[[], bool] | None) -> str:
        while True:
            if cancelled is not None and cancelled():
                raise CancelledError("The run was cancelled; what is written stays.")
            with contextlib.suppress(queue.Empty):
                return self._done.get(timeout=POLL_SECONDS)

    def abandon(self) -> None:
        """Cancel what waits and give what runs a bounded time to end, so that no thread writes behind our back."""
        if self._client.status != "running":
            return
        with contextlib.suppress(Exception):
            self._client.cancel([attempt.future for attempt in self.flying.values()], reason="the run was given up")
        seconds = settings().cancel_seconds
        # In a thread, since a call to a worker that has just died returns only when Dask gives the worker up.
        wait = threading.Thread(target=self._wait_until_gone, args=(seconds,), daemon=True)
        wait.start()
        wait.join(seconds + 1)

    def _wait_until_gone(self, seconds: float) -> None:
        with contextlib.suppress(Exception):
            self._client.run(_until_gone, set(self.flying), seconds, on_error="ignore")


def _outcome(future: Future) -> tuple[Exception | None, Any]:
    try:
        return None, future.result()
    except Exception as error:
        return error, None


def _keep(value: Any) -> Any:
    return value


async def _until_gone(keys: set[str], seconds: float, dask_worker: Worker) -> None:
    """Return when the worker knows none of these tasks any more, or after `seconds`."""
    step = 0.05
    for _ in range(int(seconds / step)):
        await sleep(step)  # at first, too: a task may be on its way to the worker still
        if keys.isdisjoint(dask_worker.state.tasks):
            return
