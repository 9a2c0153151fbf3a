"""What a cluster comes to: an estimate before, a bound on its life, and the sum so far."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass

from pipeline.clusters.workers import Workers
from pipeline.ec2.configuration import Configuration
from pipeline.ec2.prices import ADDRESS_HOUR, AS_OF, DISK_GB_HOUR, hourly_price
from pipeline.errors import PlanError

START_SECONDS = 240.0  # a machine boots, installs nothing, and pulls the Docker image
SHORTEST_SECONDS = 300.0  # a life that is over before the first worker has answered is money for nothing


@dataclass(frozen=True)
class Rates:
    """US dollars an hour of one scheduler and of one worker, with disk and address.

    Parameters
    ----------
    scheduler, worker : float
    """

    scheduler: float
    worker: float

    def of(self, workers: int) -> float:
        """US dollars an hour of a cluster with so many workers."""
        return self.scheduler + workers * self.worker


@dataclass(frozen=True)
class Offer:
    """What a cluster will cost.

    Parameters
    ----------
    rates : Rates
    workers : Workers
    threads : int
        Of one worker.
    seconds : float
        Longest life; machines switch themselves off then.
    work_seconds : float, optional
        What the work takes with all workers, starting them included, roughly.
    """

    rates: Rates
    workers: Workers
    threads: int
    seconds: float
    work_seconds: float | None

    @property
    def most(self) -> float:
        """US dollars at most: all workers for the whole life."""
        return self.rates.of(self.workers.maximum) * self.seconds / 3600

    @property
    def likely(self) -> float | None:
        """US dollars for the work, roughly."""
        if self.work_seconds is None:
            return None
        return self.rates.of(self.workers.maximum) * min(self.work_seconds, self.seconds) / 3600

    def describe(self) -> str:
        """The offer in one line."""
        hourly = self.rates.of(self.workers.maximum)
        likely = ""
        if self.likely is not None and self.work_seconds is not None:
            likely = f"; the work takes about {readable_seconds(self.work_seconds)} and ${self.likely:.2f}"
        return (
            f"ec2: a scheduler and {self.workers} workers of {self.threads} threads, at most ${hourly:.2f} an hour"
            f"{likely}; all is switched off after {readable_seconds(self.seconds)}, ${self.most:.2f} at most "
            f"(list prices of {AS_OF:%Y-%m})"
        )


def rates_of(configuration: Configuration, region: str) -> Rates:
    """Rates of a configuration's machines; spot machines are counted as if on demand.

    Raises
    ------
    PlanError
        If a price is not known.
    """
    beside = configuration.disk * DISK_GB_HOUR + (0.0 if configuration.private else ADDRESS_HOUR)
    scheduler, worker = (
        hourly_price(kind, region, configuration.prices) + beside
        for kind in (configuration.scheduler_type, configuration.worker_type)
    )
    return Rates(scheduler, worker)


def make_offer(
    rates: Rates,
    workers: Workers,
    threads: int,
    *,
    hours: float,
    max_cost: float | None = None,
    core_seconds: float | None = None,
) -> Offer:
    """What a cluster costs, and how long it may live: as long as the setting says or the money lasts.

    Raises
    ------
    PlanError
        With the code ``max_cost``, if the money does not last until the first worker answers.
    """
    life = hours * 3600
    if max_cost is not None:
        life = min(life, max_cost / rates.of(workers.maximum) * 3600)
        if life < SHORTEST_SECONDS:
            needed = math.ceil(rates.of(workers.maximum) * SHORTEST_SECONDS / 36) / 100
            raise PlanError(
                f"--max-cost {max_cost:g} pays for {readable_seconds(life)} of a scheduler and {workers.maximum} "
                f"workers, which is less than they take to start: allow at least {needed:.2f}, or fewer --workers",
                code="max_cost",
            )
    spent = None if core_seconds is None else START_SECONDS + core_seconds / (workers.maximum * threads)
    return Offer(rates, workers, threads, math.floor(life / 60) * 60.0, spent)


def cost_so_far(price: float, launched: datetime.datetime, now: datetime.datetime) -> float:
    """US dollars that a machine of this hourly price has cost; a minute at least is charged."""
    return price * max((now - launched).total_seconds(), 60.0) / 3600


def readable_seconds(seconds: float) -> str:
    """A time with its unit.

    Examples
    --------
    >>> readable_seconds(45), readable_seconds(600), readable_seconds(5 * 3600)
    ('45 s', '10 min', '5.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
