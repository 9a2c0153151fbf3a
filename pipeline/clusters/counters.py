"""What we count, on the pages of a Dask scheduler: times of the stages inside blocks, and caches of the servers.

A plugin of the scheduler adds the page ``/voxelforest`` beside Dask's own, and our series to its ``/metrics`` for
Prometheus. Stages come with what workers tell the scheduler anyway (`pipeline.stages`). A server that keeps blocks on
the scheduler's workers tells what its cache does as an event of the topic `TOPIC` every few seconds.
"""

from __future__ import annotations

import contextlib
import html
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import prometheus_client
from distributed import Client, Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from tornado.web import RequestHandler

TOPIC = "voxelforest-cache"
PAGE = "/voxelforest"
FORGOTTEN = 60.0  # seconds after which a server that tells nothing any more is left out
# What a cache tells that only ever grows; the rest are gauges.
GROWING = frozenset({"hits", "misses", "joined", "evictions", "failures", "abandoned", "refused"})


@dataclass(frozen=True)
class Told:
    """What the cache of one process told, and when."""

    when: float
    numbers: Mapping[str, float]

    @property
    def hit_rate(self) -> float:
        """Share of the blocks asked for that were there."""
        hits, misses = self.numbers.get("hits", 0), self.numbers.get("misses", 0)
        return hits / (hits + misses) if hits + misses else 0.0


class Counters(SchedulerPlugin):
    """What a scheduler knows of our work; one for each scheduler, however many clients ask for it."""

    name = "voxelforest"
    idempotent = True

    def __init__(self) -> None:
        self._scheduler: Scheduler | None = None
        self._caches: dict[str, Told] = {}

    async def start(self, scheduler: Scheduler) -> None:
        """Add the page and the series."""
        self._scheduler = scheduler
        scheduler.http_application.add_handlers(".*$", [(PAGE, CountersPage, {"counters": self})])
        SERIES.counters = self

    def log_event(self, topic: str, msg: Any) -> None:
        """Take note of what a cache tells."""
        if topic == TOPIC and isinstance(msg, dict):
            numbers = {name: value for name, value in msg.items() if isinstance(value, int | float)}
            self._caches[str(msg.get("process"))] = Told(time.monotonic(), numbers)

    @property
    def caches(self) -> dict[str, Told]:
        """By process, those that have told something lately."""
        oldest = time.monotonic() - FORGOTTEN
        self._caches = {process: told for process, told in self._caches.items() if told.when > oldest}
        return self._caches

    def stages(self) -> dict[tuple[str, str], float]:
        """Seconds of all workers by kind of task and stage inside it."""
        found = {}
        for key, value in (self._scheduler.cumulative_worker_metrics if self._scheduler else {}).items():
            if isinstance(key, tuple) and len(key) == 4 and key[0] == "execute" and key[3] == "seconds":
                found[str(key[1]), str(key[2])] = float(value)
        return found


class Series(Collector):
    """Our series in the registry of a scheduler's process, which knows its present scheduler's alone, as Dask's do."""

    counters: Counters | None = None

    def describe(self) -> list[Metric]:
        """Nothing beforehand."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Stages of blocks, and caches by the process that keeps them."""
        if self.counters is None:
            return
        seconds = CounterMetricFamily(
            "voxelforest_stage_seconds", "Time of all workers in a stage of a kind of task.", labels=["task", "stage"]
        )
        for (task, stage), value in self.counters.stages().items():
            seconds.add_metric([task, stage], value)
        yield seconds
        caches = self.counters.caches
        for name in sorted({name for told in caches.values() for name in told.numbers}):
            family = CounterMetricFamily if name in GROWING else GaugeMetricFamily
            metric = family(f"voxelforest_cache_{name}", f"The cache's {name.replace('_', ' ')}.", labels=["process"])
            for process, told in caches.items():
                metric.add_metric([process], told.numbers.get(name, 0))
            yield metric
        rate = GaugeMetricFamily("voxelforest_cache_hit_rate", "Share of blocks that were there.", labels=["process"])
        for process, told in caches.items():
            rate.add_metric([process], told.hit_rate)
        yield rate


SERIES = Series()
prometheus_client.REGISTRY.register(SERIES)


class CountersPage(RequestHandler):
    """The same for people; loads itself anew."""

    def initialize(self, counters: Counters) -> None:
        """Keep whose numbers these are."""
        self._counters = counters

    def get(self) -> None:
        """Two tables."""
        names = ("hits", "misses", "joined", "evictions", "cached_blocks", "cached_bytes", "limit_bytes", "in_flight")
        caches = [
            (process, f"{told.hit_rate:.1%}", *(f"{told.numbers.get(name, 0):,.0f}" for name in names))
            for process, told in sorted(self._counters.caches.items())
        ]
        stages = [(*key, f"{value:,.1f}") for key, value in sorted(self._counters.stages().items())]
        self.write(
            '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="5"><title>VoxelForest</title>'
            "<style>body{font:14px sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:right}</style>"
            '<p><a href="status">Dask\'s dashboard</a> · <a href="metrics">metrics</a></p><h1>Caches of servers</h1>'
            + _table(("process", "hit rate", *(name.replace("_", " ") for name in names)), caches)
            + "<h1>Seconds of all workers</h1>"
            + _table(("task", "stage", "seconds"), stages)
        )


def count_on(client: Client) -> None:
    """Have the scheduler of a client show what we count; it is only shown, so a scheduler that refuses is let be."""
    with contextlib.suppress(Exception):
        client.register_plugin(Counters())


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "<p>none</p>"
    lines = ["".join(f"<th>{html.escape(text)}" for text in header)]
    lines += ["".join(f"<td>{html.escape(text)}" for text in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}" for line in lines) + "</table>"
