"""Whether somebody still waits for an answer."""

from __future__ import annotations

import socket

from flask import Flask

from web.connection import watch


def test_a_client_that_has_gone_is_seen_and_one_that_sends_more_is_not() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Flask("test").test_request_context(environ_overrides={"gunicorn.socket": ours}):
        gone = watch()
        assert not gone()
        theirs.sendall(b"the next request")
        assert not gone()
        theirs.close()
        assert gone()


def test_a_client_without_a_socket_waits() -> None:
    with Flask("test").test_request_context():
        assert not watch()()
