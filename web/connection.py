"""Whether the client of a request still waits for its answer.

gunicorn's threads get no notice of a closed connection; they have to look. A client that closes its end, or only the
half that it sends by, is taken to have gone.
"""

from __future__ import annotations

import select
from collections.abc import Callable

from flask import request


def watch() -> Callable[[], bool]:
    """A function that tells whether the client of the present request has gone; may be called from any thread."""
    connection = request.environ.get("gunicorn.socket")
    if connection is None:  # a test client, which waits
        return lambda: False
    poller = select.poll()
    poller.register(connection, select.POLLRDHUP)
    return lambda: bool(poller.poll(0))
