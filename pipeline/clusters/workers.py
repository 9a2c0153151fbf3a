"""How many workers: a number, or two bounds between which a cluster grows and shrinks with its work."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.errors import PlanError


@dataclass(frozen=True)
class Workers:
    """Bounds of the number of workers.

    Parameters
    ----------
    minimum, maximum : int
        Equal where the number is fixed.
    """

    minimum: int
    maximum: int

    @property
    def fixed(self) -> bool:
        """Whether the number does not follow the work."""
        return self.minimum == self.maximum

    def __str__(self) -> str:
        return str(self.maximum) if self.fixed else f"{self.minimum}..{self.maximum}"


JOBS = Workers(0, 20)
"""Bounds where nobody says otherwise and nobody waits at a terminal."""


def parse_workers(text: str | None) -> Workers | None:
    """Workers as written on a command line; None stays None.

    Raises
    ------
    PlanError
        With the code ``workers``, if it is neither a number nor two bounds.

    Examples
    --------
    >>> parse_workers("4"), parse_workers("0..20")
    (Workers(minimum=4, maximum=4), Workers(minimum=0, maximum=20))
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})(?:\.\.([0-9]{1,6}))?", text.strip())
    if found is None:
        raise PlanError(f"--workers {text!r} is not usable: write a number, or bounds as 0..20", code="workers")
    return check_workers(Workers(int(found[1]), int(found[2] or found[1])))


def check_workers(workers: Workers) -> Workers:
    """The same workers, if they are possible.

    Raises
    ------
    PlanError
        With the code ``workers``, if there would never be one, or the bounds are the wrong way round.
    """
    if workers.maximum < 1:
        raise PlanError(f"{workers} workers were asked for; at least 1 is needed.", code="workers")
    if not 0 <= workers.minimum <= workers.maximum:
        raise PlanError(f"{workers} workers: the first bound has to be at most the second", code="workers")
    return workers


def as_workers(wanted: int | Workers | None, default: int) -> Workers:
    """Bounds of what was asked for; of a `default` number if nothing was.

    Raises
    ------
    PlanError
        See `check_workers`.
    """
    if isinstance(wanted, Workers):
        return check_workers(wanted)
    number = default if wanted is None else wanted
    return check_workers(Workers(number, number))
