"""Requests to the real server, over sockets."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from hypothesis import strategies as st

from tests.fuzz.reader import Read, Reader
from tests.oracles import GOLDEN
from tests.servers import SMALL, Server, serving
from tests.web import test_hostile as hostile
from tests.web.job_desk import FORM, JSON, fields, opening
from tests.web.test_jobs_hostile import TEXTS

METHODS = st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE"])
PARTS = st.lists(hostile.PARTS, min_size=4, max_size=4)
CHUNKS = st.sampled_from([path for path in hostile.PATHS if path.startswith("/data/")])
REGIONS = st.sampled_from([path for path in hostile.PATHS if "roi" in path])
UPLOADS = st.tuples(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=40),
    st.sampled_from([1.0, 1.0, 0.9, 0.5, 0.01]),
)
SUBMITTED = st.tuples(st.booleans(), st.dictionaries(st.sampled_from(sorted(fields())), TEXTS, min_size=1, max_size=3))


def requests(routes: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Method, target, body and its type."""
    targets = st.tuples(routes, PARTS, hostile.QUERIES).map(lambda parts: parts[0].format(*parts[1]) + parts[2])
    return st.tuples(METHODS, targets, hostile.BODIES, hostile.TYPES)


def asking(ask: Callable[[Server, Any], tuple[int, bytes]]) -> Callable[[Path], Any]:
    """Sends requests to a server of one volume and one project."""

    @contextlib.contextmanager
    def prepare(folder: Path) -> Iterator[Read]:
        files = GOLDEN / "projects" / "pc_3d.ilp", GOLDEN / "in_3d_u8.npy"
        with serving(*files, "--axes", "zyx", folder=folder, environment=SMALL) as server:
            yield lambda one: _judge(*ask(server, one))

    return prepare


def _judge(status: int, answer: bytes) -> str | None:
    assert status < 500 or status == 503, answer[:500]
    assert b"Traceback" not in answer
    assert b"root:" not in answer
    return f"status {status}" if status >= 400 else None


def _request(server: Server, one: tuple[str, str, bytes, str]) -> tuple[int, bytes]:
    method, target, body, kind = one
    return hostile.send(server, method, target, body if method in ("POST", "PUT") else b"", kind)


def _junk(server: Server, junk: bytes) -> tuple[int, bytes]:
    answer = hostile.send_junk(server, junk)
    return (int(answer.split()[1]) if answer else 400), answer


def _upload(server: Server, one: tuple[list[tuple[float, int]], float]) -> tuple[int, bytes]:
    return hostile.send_damaged(server, GOLDEN / "projects" / "pc_3d.ilp", *one)


@contextlib.contextmanager
def _submissions(folder: Path) -> Iterator[Read]:
    """Forms and documents that ask for a job, an archive being there."""
    with opening(folder) as desk:

        def read(one: tuple[bool, dict[str, str]]) -> str | None:
            given = fields(**one[1])
            target, headers = ("/submit", FORM) if one[0] else ("/api/v1/jobs", JSON)
            body = urlencode(given) if one[0] else json.dumps(given)
            reply = desk.ask(target, method="POST", headers=headers, body=body.encode())
            return _judge(reply.status, reply.body)

        yield read


READERS = (
    Reader("requests of any kind", requests(hostile.ROUTES), asking(_request), 3),
    Reader("URLs of chunks", requests(CHUNKS), asking(_request), 2),
    Reader("requests for regions", requests(REGIONS), asking(_request), 2),
    Reader("bytes that are no request", st.binary(min_size=1, max_size=400), asking(_junk)),
    Reader("uploaded projects", UPLOADS, asking(_upload)),
    Reader("submitted jobs", SUBMITTED, _submissions, 2),
)
