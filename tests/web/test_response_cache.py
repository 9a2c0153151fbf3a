"""The cache of encoded answers: bounded in bytes, and not a way around the guard."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import Client

from web import errors, logs
from web.metrics import Metrics
from web.options import Options
from web.response_cache import ENTRY_OVERHEAD, Answer, ImmutableAnswers, ResponseCache
from web.security import Guard

PATH = "/data/v/raw/0/zarr/0/c/0"
ANSWER = Answer(b"kept", (("Content-Type", "application/octet-stream"), ("ETag", '"e"')))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4000)), max_size=60))
def test_never_more_bytes_than_allowed(puts: list[tuple[int, int]]) -> None:
    cache, limit = ResponseCache(40_000), 40_000
    for name, size in puts:
        cache.put(str(name), Answer(bytes(size), ()))
        found = cache.statistics()
        held = [answer for n in range(10) if (answer := cache.get(str(n))) is not None]
        assert found["cached_response_bytes"] == sum(len(answer.body) + ENTRY_OVERHEAD for answer in held) <= limit


def test_least_recently_used_goes_first() -> None:
    cache = ResponseCache(8 * (ENTRY_OVERHEAD + 10))
    for name in "abcdefgh":
        cache.put(name, Answer(bytes(10), ()))
    assert cache.get("a") is not None
    cache.put("i", Answer(bytes(10), ()))
    assert (cache.get("a") is None, cache.get("b") is None) == (False, True)
    found = cache.statistics()
    assert [found[f"response_{name}"] for name in ("hits", "misses", "evictions")] == [2, 1, 1]
    assert found["cached_responses"] == 8


def test_large_answers_and_a_limit_of_zero_keep_nothing() -> None:
    cache = ResponseCache(80_000)
    cache.put("large", Answer(bytes(10_001), ()))
    assert cache.get("large") is None
    nothing = ResponseCache(0)
    nothing.put("a", Answer(b"", ()))
    assert nothing.get("a") is None


class _Engine:
    """What metrics ask an engine for."""

    def statistics(self) -> dict[str, Any]:
        return {}


def _client(options: Options) -> Client:
    """An app that answers everything with 418, behind kept answers."""
    app = Flask("app")
    errors.register(app)
    logs.register(app)
    Metrics(_Engine()).register(app)  # type: ignore[arg-type]
    Guard(options).register(app)
    app.add_url_rule("/data/<path:rest>", view_func=lambda rest: ("app", 418))
    cache = ResponseCache(1 << 20)
    cache.put(PATH, ANSWER)
    app.wsgi_app = ImmutableAnswers(app, cache)  # type: ignore[method-assign]
    return Client(app)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 200),
        ({"headers": {"If-None-Match": '"e"'}}, 304),
        ({"headers": {"If-None-Match": '"other"'}}, 200),
        ({"method": "POST"}, 405),
        ({"method": "HEAD"}, 418),
        ({"headers": {"Range": "bytes=0-1"}}, 418),
        ({"query_string": "project=x"}, 418),
        ({"path": PATH + "/1"}, 418),
        ({"headers": {"Host": "elsewhere.example"}}, 403),
        ({"headers": {"Host": "a b"}}, 400),
    ],
)
def test_only_plain_reads_are_answered_from_what_is_kept(changes: dict[str, Any], status: int) -> None:
    client = _client(Options())
    for _ in range(2):  # what the guard said is remembered
        assert client.open(**{"path": PATH, **changes}).status_code == status


def test_token_is_wanted_for_what_is_kept_as_for_all_else() -> None:
    client = _client(Options(token="secret"))
    good = {"Authorization": "Bearer secret"}
    for headers, status in [({}, 401), (good, 200), ({}, 401), ({"Authorization": "Bearer wrong"}, 401), (good, 200)]:
        assert client.get(PATH, headers=headers).status_code == status


def test_other_origins_read_what_they_may() -> None:
    client = _client(Options(cors=("https://viewer.example",)))
    for _ in range(2):
        allowed = client.get(PATH, headers={"Origin": "https://viewer.example"})
        assert allowed.headers["Access-Control-Allow-Origin"] == "https://viewer.example"
        assert (allowed.status_code, allowed.data) == (200, b"kept")
        assert "Access-Control-Allow-Origin" not in client.get(PATH, headers={"Origin": "https://b.example"}).headers
