"""Which worker gets which tasks: each goes through a part of the work of its own, so that neighbours stay together.

What two neighbouring blocks read is then read, unpacked and kept by one worker. The client decides where a task goes,
which costs the scheduler less than to look through all workers for it; where the worker is gone or another one has
nothing to do, Dask may run it elsewhere. A worker whose part is done takes the largest part that another has not begun.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")


class Divisible(Protocol[Item]):
    """Work that is divided into neighbours, such as `pipeline.pending.Pending`."""

    @property
    def whole(self) -> Item | None: ...  # None: nothing is left
    def divide(self, part: Item) -> Sequence[Item] | None: ...
    def number(self, part: Item) -> int: ...


@dataclass(eq=False)
class Lane(Generic[Item]):
    """A worker and what it is to do.

    Parameters
    ----------
    address : str or None
        Of the worker; None for tasks that run where Dask likes.
    capacity : int
        Tasks that may be in flight.
    flying : int
        Tasks that are.
    todo : deque of (int, part)
        Parts of the work, the next one last, with the number of times that the whole was divided to get there.
    """

    address: str | None
    capacity: int
    flying: int = 0
    todo: deque[tuple[int, Item]] = field(default_factory=deque)


class Lanes(Generic[Item]):
    """Deals out tasks. Used from one thread.

    Parameters
    ----------
    items : iterable or Divisible
        Tasks, taken one by one as there is room; or work that is divided, of which each worker gets a part.
    window : int
        Tasks in flight at most.
    """

    def __init__(self, items: Iterable[Item] | Divisible[Item], window: int) -> None:
        self._window = window
        self._anywhere: Lane[Item] = Lane(None, window)
        self._lanes: dict[str, Lane[Item]] = {}
        self._loose: list[tuple[int, Item]] = []
        self._work: Divisible[Item] | None = None
        self._feed: Iterator[tuple[int, Item]] = iter(())
        if isinstance(items, Iterable):
            self._feed = enumerate(items)
        else:
            self._work = items
            whole = items.whole
            if whole is not None:
                self._loose.append((0, whole))

    @property
    def divided(self) -> bool:
        """Whether it matters which workers there are."""
        return self._work is not None

    def follow(self, threads: Mapping[str, int], ahead: int) -> None:
        """Have a lane for each worker, if there are several.

        Parameters
        ----------
        threads : mapping
            Threads of each worker, by its address.
        ahead : int
            Tasks in flight for each thread, as far as the window allows. What it leaves is for workers to come.
        """
        wanted = threads if len(threads) > 1 else {}
        for address in self._lanes.keys() - wanted.keys():
            self._loose.extend(self._lanes.pop(address).todo)
        ahead = max(min(ahead, self._window // max(sum(wanted.values()), 1)), 1)
        for address, number in wanted.items():
            self._lanes.setdefault(address, Lane(address, 0)).capacity = ahead * number
        self._anywhere.capacity = max(self._window - ahead * sum(wanted.values()), 0)

    def deal(self, flying: int) -> Iterator[tuple[Lane[Item], int, Item]]:
        """What to submit now, with its number, where so many tasks are in flight; to each lane in turn."""
        room = self._window - flying
        lanes = [*self._lanes.values(), self._anywhere]
        while room > 0 and lanes:
            lanes = [lane for lane in lanes if lane.flying < lane.capacity]
            for lane in lanes[:room]:
                found = self._take(lane)
                if found is None:
                    return
                lane.flying += 1
                room -= 1
                yield lane, *found

    def _take(self, lane: Lane[Item]) -> tuple[int, Item] | None:
        """The next task of a lane, or None if nothing is left anywhere."""
        if self._work is None:
            return next(self._feed, None)
        while lane.todo or self._take_over(lane):
            depth, part = lane.todo.pop()
            parts = self._work.divide(part)
            if parts is None:
                return self._work.number(part), part
            lane.todo.extend((depth + 1, smaller) for smaller in reversed(parts))
        return None

    def _take_over(self, lane: Lane[Item]) -> bool:
        """Give a lane the largest part that nobody has begun."""
        lanes = [other for other in (*self._lanes.values(), self._anywhere) if other.todo]
        owner = min(lanes, key=lambda other: other.todo[0][0], default=None)
        loose = min(self._loose, key=lambda entry: entry[0], default=None)
        if loose is not None and (owner is None or loose[0] <= owner.todo[0][0]):
            self._loose.remove(loose)
            lane.todo.append(loose)
        elif owner is not None:
            lane.todo.append(owner.todo.popleft())
        return bool(lane.todo)
