"""Turns pieces into entries of the cache: joins what is there, submits what is not, fetches values.

Submitting takes a lock, so that two threads never submit the same block; a request's blocks go to Dask in one call for
each kind of task, since every call costs a round of the client's loop, about 10 ms.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
from distributed import Future

from pipeline.serving.admission import Admission
from pipeline.serving.block_cache import BlockCache, Entry
from pipeline.serving.piece import Piece
from pipeline.serving.request_shape import cover
from pipeline.serving.session import Session

Array = npt.NDArray[Any]


@dataclass
class Claim:
    """The blocks that a request waits for.

    Parameters
    ----------
    entries : list of Entry
        Of the pieces that it asked for, in their order.
    waited : list of Entry
        These, and what has to be made before them.
    """

    entries: list[Entry] = field(default_factory=list)
    waited: list[Entry] = field(default_factory=list)


@dataclass(frozen=True)
class _Step:
    """A piece to submit; `depth` counts the submissions that have to come before it."""

    piece: Piece
    children: tuple[Piece, ...]
    depth: int


class BlockMaker:
    """What one process has its blocks made by.

    Parameters
    ----------
    session : Session
    cache : BlockCache
    admission : Admission
    """

    def __init__(self, session: Session, cache: BlockCache, admission: Admission) -> None:
        self._session = session
        self._cache = cache
        self._admission = admission
        self._generation = 0
        self._lock = threading.Lock()

    def claim(self, pieces: Sequence[Piece], priority: int) -> Claim:
        """Join or submit blocks, and whatever they are made of; to be ended with `release`.

        Parameters
        ----------
        pieces : sequence of Piece
        priority : int
            Dask's; larger goes first.

        Raises
        ------
        BusyError
            If too many blocks wait already.
        ClusterError
            If there is no scheduler.
        """
        claim = Claim()
        self._session.client()  # before the lock: many may wait for one connection, and for its failure
        with self._lock:
            self._connect()
            try:
                known: dict[str, Entry] = {}
                steps: dict[str, _Step] = {}
                for piece in pieces:
                    self._visit(piece, known, steps, claim)
                self._admission.check_tasks(self._cache.n_flying, len(steps), self.retry_after())
                self._submit(list(steps.values()), known, claim, priority)
            except BaseException:
                self.release(claim)
                raise
        claim.entries = [known[piece.key] for piece in pieces]
        return claim

    def release(self, claim: Claim, *, abandoned: bool = False) -> None:
        """Wait no more for what was claimed; what nobody waits for any more is given up."""
        self._cache.leave(claim.waited, abandoned=abandoned)
        claim.waited = []

    def retry_after(self) -> float:
        """Seconds in which what is in the making now is likely to be done."""
        return self._cache.n_flying * self._cache.seconds_each

    def values(self, entries: Sequence[Entry]) -> list[Array]:
        """The values of blocks that are done.

        Raises
        ------
        PipelineError
            What the task raised, if that was one of ours.
        Exception
            Anything else that went wrong: another try may help.
        """
        for entry in entries:
            if entry.error is not None:
                self._raise(entry)
        found = [entry.peek() for entry in entries]
        missing = [entry for entry, value in zip(entries, found, strict=True) if value is None]
        try:
            fetched = iter(self._fetch(missing))
        except BaseException:
            for entry in missing:
                self._cache.drop(entry, failed=entry.future.status == "error")
            raise
        return [next(fetched) if value is None else value for value in found]

    def _fetch(self, entries: Sequence[Entry]) -> list[Array]:
        if len(entries) == 1:
            return [entries[0].fetch(self._gather, self._session.inside)]
        values = self._gather([entry.future for entry in entries]) if entries else []
        for entry, value in zip(entries, values, strict=True):
            entry.remember(value, self._session.inside)
        return values

    def _gather(self, futures: Sequence[Future]) -> list[Array]:
        return list(self._session.client().gather(list(futures)))

    def _raise(self, entry: Entry) -> None:
        error = entry.error
        if entry.future.status == "error":
            error = entry.future.exception()
        assert error is not None
        raise error

    def _connect(self) -> None:
        self._session.client()
        if self._session.generation != self._generation:
            self._cache.clear()  # what an earlier connection held is gone
            self._generation = self._session.generation

    def _visit(self, piece: Piece, known: dict[str, Entry], steps: dict[str, _Step], claim: Claim) -> int:
        """Join a piece or plan to submit it, and likewise what it is made of; its depth."""
        if piece.key in steps:
            return steps[piece.key].depth
        if piece.key in known:
            return 0
        entry = self._cache.join(piece)
        if entry is not None:
            known[piece.key] = entry
            claim.waited.append(entry)
            for child in entry.children:  # what is made for its sake must not be given up by who asked first
                if self._cache.holds(child):
                    self._visit(child, known, steps, claim)
            return 0
        children = piece.children(lambda layer, level, box: cover(layer, level, box, self._cache.holds))
        depth = 1 + max((self._visit(child, known, steps, claim) for child in children), default=0)
        steps[piece.key] = _Step(piece, children, depth)
        return depth

    def _submit(
        self,
        steps: Sequence[_Step],
        known: dict[str, Entry],
        claim: Claim,
        priority: int,
    ) -> None:
        client = self._session.client()
        for group in _grouped(steps):
            calls = [self._call(step, known) for step in group]
            arguments = zip(*(values for _, values in calls), strict=True)
            keys = [self._cache.task_key(step.piece) for step in group]
            futures = client.map(calls[0][0], *map(list, arguments), key=keys, priority=priority)
            for step, future in zip(group, futures, strict=True):
                entry = self._cache.add(step.piece, future, step.children)
                known[step.piece.key] = entry
                claim.waited.append(entry)

    def _call(self, step: _Step, known: dict[str, Entry]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The function of a task and its arguments, futures among them."""
        layer = step.piece.layer
        function, arguments = step.piece.task(step.children)
        values = [known[child.key].future for child in step.children]
        if step.piece.is_averaged:
            return function, (*arguments, values)
        return function, (self._session.share(f"recipe-{layer.digest}", layer.recipe), *arguments, *values)


def _grouped(steps: Sequence[_Step]) -> list[list[_Step]]:
    """Steps by depth and kind of task, in an order in which what is needed comes first."""
    groups: dict[tuple[int, bool, bool], list[_Step]] = {}
    for step in sorted(steps, key=lambda step: step.depth):
        kind = step.depth, step.piece.is_averaged, step.piece.layer.parent is None
        groups.setdefault(kind, []).append(step)
    return list(groups.values())
