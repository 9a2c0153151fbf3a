"""The pages of a Dask scheduler over HTTP: its own metrics, ours beside them, and what caches of servers tell."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.cluster import connect
from pipeline.clusters.local import dashboard_of
from pipeline.clusters.terms import Terms
from pipeline.config import settings
from pipeline.serving import publisher
from pipeline.serving.engine import Engine
from pipeline.stages import timed
from pipeline.window import run_windowed
from tests.served import make_catalogue, probabilities_of, read_whole, wait_for

Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture(autouse=True)
def _shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("VOXELFOREST_DASHBOARD_PORT", "0")
    settings.cache_clear()
    yield
    settings.cache_clear()


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def _series(url: str) -> Samples:
    """What Prometheus would read: values by name and the values of labels, sorted."""
    families = text_string_to_metric_families(_get(f"{url}/metrics"))
    return {(s.name, tuple(sorted(s.labels.values()))): s.value for family in families for s in family.samples}


def _nap(item: float) -> None:
    with timed("read"):
        time.sleep(item)


def test_scheduler_and_workers_show_their_metrics_and_the_stages_of_blocks() -> None:
    told: list[str] = []
    with connect("local", 1, Terms(tell=told.append)) as client:
        (sentence,) = told
        assert sentence.startswith("Dask's dashboard is at http://127.0.0.1:")
        url = sentence.split()[-1].removesuffix("/status")
        run_windowed(client, _nap, [0.2], window=1, key_prefix="predict")
        wait_for(lambda: _series(url).get(("voxelforest_stage_seconds_total", ("predict", "read")), 0) >= 0.2)
        found = _series(url)
        assert found["dask_scheduler_workers", ("idle",)] == 1
        assert found["dask_scheduler_prefix_state_totals_total", ("memory", "predict")] == 1
        assert "<td>predict<td>read<td>0." in _get(f"{url}/voxelforest")
        assert "Dask Diagnostic UI" in _get(f"{url}/status")
        (worker,) = client.scheduler_info()["workers"].values()
        pages = f"http://127.0.0.1:{worker['services']['dashboard']}"
        assert _series(pages)["dask_worker_threads", ()] == 1


def test_server_tells_the_scheduler_what_its_cache_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "PERIOD", 0.1)
    engine = Engine(make_catalogue(tmp_path, "yx"), workers=1)
    try:
        for _ in range(2):
            read_whole(engine, probabilities_of(engine))
        numbers = engine.statistics()
        assert numbers["hits"]
        url = dashboard_of(engine._session.client().cluster).removesuffix("/status")

        def told() -> bool:
            series = {name: value for (name, _), value in _series(url).items()}
            return series.get("voxelforest_cache_hits_total") == numbers["hits"]

        wait_for(told)
        found = {name: value for (name, _), value in _series(url).items()}
        assert found["voxelforest_cache_misses_total"] == numbers["misses"]
        assert found["voxelforest_cache_cached_bytes"] == numbers["cached_bytes"]
        assert found["voxelforest_cache_hit_rate"] == numbers["hits"] / (numbers["hits"] + numbers["misses"])
        assert f"{found['voxelforest_cache_hit_rate']:.1%}" in _get(f"{url}/voxelforest")
    finally:
        engine.close()
