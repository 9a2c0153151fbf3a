"""The connection of a process to where blocks are computed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeline.errors import ClusterError
from pipeline.serving import session
from pipeline.serving.session import Session
from tests.pipeline.serving.conftest import Limit


def test_those_who_wait_for_a_connection_that_fails_do_not_try_again(
    limit: Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit("connect_seconds", 1)
    tried: list[str] = []
    connect = session.connect

    def count(scheduler: str, workers: int | None) -> Any:
        tried.append(scheduler)
        return connect(scheduler, workers)

    monkeypatch.setattr(session, "connect", count)
    nowhere, barrier = Session("tcp://127.0.0.1:9"), threading.Barrier(8)

    def ask(_: int) -> None:
        barrier.wait()
        with pytest.raises(ClusterError, match=r"127\.0\.0\.1:9"):
            nowhere.client()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert len(tried) == 1
    with pytest.raises(ClusterError):
        nowhere.client()
    assert len(tried) == 2  # who comes later does


def test_a_shared_value_that_was_given_up_is_sent_again() -> None:
    one = Session("threads", 1)
    try:
        held = one.share("value", 5)
        assert one.share("value", 5) is held
        assert held.result() == 5
        assert one.renew("value")
        assert one.renew("value")  # somebody else noticed it, too
        again = one.share("value", 5)
        assert (again.key, again.result()) == ("value-again1", 5)
        assert not one.renew("other")
    finally:
        one.close()
