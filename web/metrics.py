"""Numbers about the server for Prometheus: requests and their times by route, and what the caches say.

Each process counts for itself: where several answer, a series is told apart by the label ``process``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from pipeline.clusters.counters import GROWING as CACHE_GROWING
from pipeline.errors import BusyError

if TYPE_CHECKING:
    from pipeline.serving.engine import Engine

# Seconds; fine below 25 ms, where tiles from the cache are to be.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Statistics of the engine that only ever grow; the others are gauges.
GROWING = CACHE_GROWING | {"response_hits", "response_misses", "response_evictions"}

blueprint = Blueprint("metrics", __name__)


class Metrics:
    """The series of one process, in a registry of their own."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "voxelforest_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "voxelforest_request_seconds",
            "Time until an answer was ready.",
            ["route"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._bytes = Counter("voxelforest_response_bytes", "Bytes of bodies sent.", registry=self.registry)
        self._running = Gauge("voxelforest_requests_running", "Requests being answered now.", registry=self.registry)
        self._engine = engine
        ProcessCollector(registry=self.registry)

    def register(self, app: Flask) -> None:
        """Count what an app answers."""
        app.extensions["metrics"] = self
        self.registry.register(CacheCollector(lambda: self._numbers(app)))
        app.before_request(self._begin)
        app.after_request(self._count)
        app.teardown_request(self._end)
        app.register_blueprint(blueprint)

    def _numbers(self, app: Flask) -> dict[str, Any]:
        return {**self._engine.statistics(), **app.extensions["response_cache"].statistics()}

    def _begin(self) -> None:
        g.counted = True
        self._running.inc()

    def _count(self, response: Response) -> Response:
        # The rule, not the path: series are as many as routes, whatever is asked for.
        route = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.method in ("GET", "HEAD", "POST", "OPTIONS") else "other"
        seconds = time.perf_counter() - g.began
        self.count(method, route, response.status_code, seconds, response.calculate_content_length() or 0)
        return response

    def count(self, method: str, route: str, status: int, seconds: float, n_bytes: int) -> None:
        """Count one answer; those that are given out before the app is asked come here themselves."""
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)
        self._bytes.inc(n_bytes)

    def _end(self, _error: BaseException | None) -> None:
        if g.pop("counted", False):
            self._running.dec()


class CacheCollector(Collector):
    """What the caches say of themselves at the moment of asking."""

    def __init__(self, ask: Callable[[], Mapping[str, Any]]) -> None:
        self._ask = ask

    def describe(self) -> Iterable[Metric]:
        """Nothing: when this is registered, there is nobody to ask yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One series for each number."""
        numbers = {name: value for name, value in self._ask().items() if isinstance(value, int | float)}
        for name, value in numbers.items():
            family = CounterMetricFamily if name in GROWING else GaugeMetricFamily
            metric = family(f"voxelforest_cache_{name}", f"The cache's {name.replace('_', ' ')}.", labels=["process"])
            metric.add_metric([str(os.getpid())], value)
            yield metric
        asked = numbers.get("hits", 0) + numbers.get("misses", 0)
        rate = GaugeMetricFamily("voxelforest_cache_hit_rate", "Share of regions that were there.", labels=["process"])
        rate.add_metric([str(os.getpid())], numbers.get("hits", 0) / asked if asked else 0.0)
        yield rate


@blueprint.get("/metrics")
def show_metrics() -> Response:
    """Numbers for Prometheus."""
    metrics: Metrics = current_app.extensions["metrics"]
    return Response(generate_latest(metrics.registry), content_type=CONTENT_TYPE_LATEST)


@blueprint.get("/healthz")
def tell_alive() -> Response:
    """Whether this process answers at all."""
    return Response("ok\n", content_type="text/plain; charset=utf-8")


@blueprint.get("/readyz")
def tell_ready() -> Response:
    """Whether regions can be computed: 200 with a connection to the workers, else 503."""
    engine: Engine = current_app.extensions["engine"]
    if not engine.ready():
        raise BusyError("there is no connection to where blocks are computed", code="scheduler")
    return Response("ready\n", content_type="text/plain; charset=utf-8")
