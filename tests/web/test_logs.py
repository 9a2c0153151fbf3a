"""Logs and metrics of a running server."""

from __future__ import annotations

import re

import pytest

from tests.servers import Server


def test_a_request_keeps_its_id(server_3d: Server) -> None:
    reply = server_3d.ask("/info/dim", headers={"X-Request-Id": "trace-1.of_2"})
    assert reply.headers["X-Request-Id"] == "trace-1.of_2"
    (line,) = [line for line in server_3d.logged() if line.get("request_id") == "trace-1.of_2"]
    assert (line["method"], line["path"], line["status"], line["bytes"]) == ("GET", "/info/dim", 200, 1)
    assert line["seconds"] >= 0


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'quote"', "ümlaut".encode().decode("latin-1"), "a;b=c"])
def test_an_id_that_could_be_more_than_one_is_replaced(server_3d: Server, given: str) -> None:
    found = server_3d.ask("/info/dim", headers={"X-Request-Id": given}).headers["X-Request-Id"]
    assert re.fullmatch("[0-9a-f]{16}", found)


def test_problems_name_the_id(server_3d: Server) -> None:
    reply = server_3d.ask("/nothing", headers={"X-Request-Id": "problem-1"})
    assert reply.document["request_id"] == "problem-1"


def test_a_line_is_one_object_whatever_was_asked(server_3d: Server) -> None:
    server_3d.ask("/%0a%7b%22level%22:%22info%22%7d/%1b%5b31m")
    server_3d.ask("/info/dim?%0a=1")
    (line,) = [line for line in server_3d.logged() if line.get("path", "").startswith("/\n")]
    assert line["status"] == 404


def test_metrics_count_by_route_not_by_path(server_3d: Server) -> None:
    for number in range(5):
        server_3d.ask(f"/unknown-{number}")
        server_3d.ask(f"/prediction/raw/{number}")
    text = server_3d.ask("/metrics").text
    assert "unknown-" not in text
    assert re.search(
        r'voxelforest_requests_total\{method="GET",route="/prediction/<fmt>/<block>",status="200"\} \d', text
    )
    for name in ("hit_rate", "cached_bytes", "evictions_total", "in_flight", "misses_total"):
        assert f"voxelforest_cache_{name}" in text
    assert "voxelforest_request_seconds_bucket" in text
    assert "process_resident_memory_bytes" in text
