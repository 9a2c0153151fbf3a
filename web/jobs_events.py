"""What happens to a job, as it happens: server-sent events, each stream in a thread of the server, so a few at a time.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from flask import Response, current_app, json, request

from pipeline.config import settings
from pipeline.errors import BusyError
from pipeline.jobs.job import NEEDS_TOKEN, Event, Job
from pipeline.jobs.store import JobStore
from web.connection import watch
from web.jobs_desk import Document, show_time

POLL_SECONDS = 0.5
BEAT_SECONDS = 15.0  # between signs of life, which also tell a proxy not to hang up
SHARE = 0.8  # of the time that a request may take altogether
AGAIN_SECONDS = 5.0
RETRY = "retry: 2000\n\n"  # milliseconds after which a browser takes a stream up again that has ended


class Streams:
    """How many streams there are in this process."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._free = threading.BoundedSemaphore(most) if most else None

    def enter(self) -> None:
        """Take a place.

        Raises
        ------
        BusyError
            If there is none; the state of a job can be asked for without.
        """
        if self._free is None or not self._free.acquire(blocking=False):
            text = f"{self.most} jobs are being watched, as many as may; ask for the job itself now and then"
            raise BusyError(text, "streams", AGAIN_SECONDS)

    def leave(self) -> None:
        """Give a place back."""
        if self._free is not None:
            self._free.release()


class _Stream(Response):
    """An answer that is sent as it is made; else it would be read to its end first, to be counted for the log."""

    implicit_sequence_conversion = False


def follow(store: JobStore, job: Job) -> Response:
    """The stream of a job's events, from the one after the request's Last-Event-ID on."""
    streams: Streams = current_app.extensions["job_streams"]
    after = _last_number()
    response = _Stream(content_type="text/event-stream; charset=utf-8")
    if request.method != "HEAD":  # whose answer nobody reads, nor closes
        streams.enter()
        until = time.monotonic() + SHARE * settings().exchange_seconds
        response.response = _tell(store, job.id, after, until, watch())
        response.call_on_close(streams.leave)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def describe_event(event: Event) -> Document:
    """An event for programs."""
    return {"number": event.number, "time": show_time(event.time), "kind": event.kind, **event.document}


def _last_number() -> int:
    """The event that a reader has seen last; junk counts as none."""
    given = request.headers.get("Last-Event-ID") or request.args.get("after", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0


def _tell(store: JobStore, job: str, after: int, until: float, gone: Callable[[], bool]) -> Iterator[str]:
    yield RETRY
    beat = time.monotonic()
    while time.monotonic() < until and not gone():
        events = store.events(job, after)
        for event in events:
            after = event.number
            yield f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(describe_event(event))}\n\n"
        if not events:
            found = store.get(job)
            if (found.finished or found.state == NEEDS_TOKEN) and found.event <= after:
                yield f"event: end\ndata: {json.dumps({'state': found.state})}\n\n"
                return
            if time.monotonic() > beat + BEAT_SECONDS:
                yield ": still here\n\n"
                beat = time.monotonic()
            time.sleep(POLL_SECONDS)
