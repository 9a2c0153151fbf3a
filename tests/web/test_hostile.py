"""Requests that nobody means well with: whatever is sent, the answer is no error of the server's.

The short form is part of every run; ``--hypothesis-profile=full`` sends twenty times as many.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.servers import Server

TIMES = 10  # requests for each example of a profile: 250 or 5,000
GROWTH = 200 << 20  # bytes; a warm server holds its cache and no more
NAMES = st.sampled_from(["raw", "probabilities", "segmentation", "uncertainty", "labels", "..", "%2e%2e", "none", ""])
PATHS = [
    "/raw/{}/roi",
    "/prediction/{}/roi",
    "/labelimage/{}/roi",
    "/prediction/{}/{}",
    "/labelvolume/{}/{}",
    "/{}/get",
    "/{}/set",
    "/api/v1/volumes/in_3d_u8/layers/{}/roi",
    "/api/v1/volumes/{}/layers/{}",
    "/api/v1/projects/{}",
    "/api/v1/docs/files/{}/{}",
    "/data/in_3d_u8/{}/{}",
    "/data/in_3d_u8/{}/zarr/0/c/{}/{}/{}",
    "/data/in_3d_u8/{}/zarr2/0/{}.{}.{}",
    "/data/in_3d_u8/{}/precomputed/1_1_1/{}_{}_{}",
    "/data/{}/{}/{}/zarr/zarr.json",
    "/login",
    "/{}/{}",
]
ROUTES = st.sampled_from(PATHS)
NUMBERS = st.one_of(
    st.integers(-5, 50).map(str),
    st.integers(-(10**30), 10**30).map(str),
    st.sampled_from(
        ["nan", "inf", "-0", "1e9", "0x10", "%D9%A3", "1.5", "", "+1", "%00", "1%0d%0aX-Evil:%201", "0:0", "::"]
    ),
)
PARTS = st.one_of(
    NAMES, NUMBERS, st.sampled_from(["raw", "png", "tiff", "hdf5", "threshold", "channel", "..%2f..%2fetc%2fpasswd"])
)
BOXES = st.lists(NUMBERS, min_size=0, max_size=6).map("_".join)
KEYS = st.sampled_from(
    [
        "extents_min",
        "extents_max",
        "t",
        "c",
        "z",
        "y",
        "x",
        "level",
        "format",
        "colors",
        "window",
        "project",
        "next",
        "token",
    ]
)
QUERIES = st.one_of(
    st.just(""),
    st.tuples(BOXES, BOXES).map(lambda box: f"?extents_min={box[0]}&extents_max={box[1]}"),
    st.lists(st.tuples(KEYS, st.one_of(PARTS, NUMBERS)), max_size=5).map(
        lambda rows: "?" + "&".join(f"{k}={v}" for k, v in rows)
    ),
)
BODIES = st.one_of(
    st.just(b""),
    st.binary(max_size=200),
    st.sampled_from(
        [b'{"value": NaN}', b'{"value": 1e999}', b'{"value": ' + b"9" * 5000 + b"}", b"[" * 50_000, b'{"value": {}}']
    ),
)
TYPES = st.sampled_from(
    [
        "application/json",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "text/plain",
        "",
        "a/b; charset=ü".encode().decode("latin-1"),
    ]
)


@pytest.fixture(scope="module")
def resident(server_3d: Server) -> Iterator[list[psutil.Process]]:
    """The answering processes; at the end none of them may have grown much, nor hold files that nobody named."""
    workers = server_3d.workers()
    server_3d.ask("/prediction/raw/roi?extents_min=0_0_0&extents_max=-1_-1_-1")
    before = sum(worker.memory_info().rss for worker in workers)
    yield workers
    assert server_3d.workers() == workers  # none had to be started again
    assert sum(worker.memory_info().rss for worker in workers) < before + GROWTH
    opened = {file.path for worker in workers for file in worker.open_files()}
    assert not [path for path in opened if path.startswith("/etc")]


def send(server: Server, method: str, target: str, body: bytes, kind: str) -> tuple[int, bytes]:
    """Send a request as it is; returns status and body."""
    connection = http.client.HTTPConnection(*server.address, timeout=60)
    with contextlib.closing(connection):
        connection.putrequest(method, target, skip_accept_encoding=True)
        connection.putheader("Content-Length", str(len(body)))
        if kind:
            connection.putheader("Content-Type", kind)
        connection.endheaders(body)
        answer = connection.getresponse()
        assert answer.headers["X-Evil"] is None
        return answer.status, answer.read()


def send_junk(server: Server, junk: bytes) -> bytes:
    """Send bytes in place of a request; what comes back first."""
    with socket.create_connection(server.address, timeout=60) as connection:
        connection.sendall(junk + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(1 << 16)


def send_damaged(server: Server, project: Path, changes: list[tuple[float, int]], kept: float) -> tuple[int, bytes]:
    """Upload a project some bytes of which are changed and of which a part is kept; returns status and body."""
    content = bytearray(project.read_bytes())
    for place, value in changes:
        content[int(place * len(content))] = value
    del content[int(kept * len(content)) :]
    body = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\ndamaged\r\n--x\r\n'
    body += b'Content-Disposition: form-data; name="file"; filename="p.ilp"\r\n\r\n' + bytes(content) + b"\r\n--x--\r\n"
    return send(server, "POST", "/api/v1/projects", body, "multipart/form-data; boundary=x")


@settings(max_examples=settings().max_examples * TIMES, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    method=st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE"]),
    route=ROUTES,
    parts=st.lists(PARTS, min_size=4, max_size=4),
    query=QUERIES,
    body=BODIES,
    kind=TYPES,
)
def test_no_request_is_an_error_of_the_server(
    server_3d: Server,
    resident: list[psutil.Process],
    method: str,
    route: str,
    parts: list[str],
    query: str,
    body: bytes,
    kind: str,
) -> None:
    target = route.format(*parts) + query
    status, answer = send(server_3d, method, target, body if method in ("POST", "PUT") else b"", kind)
    assert status < 500 or status == 503, (method, target, answer[:500])
    assert b"Traceback" not in answer
    assert b"root:" not in answer


@given(junk=st.binary(min_size=1, max_size=400))
def test_junk_is_refused(server_3d: Server, resident: list[psutil.Process], junk: bytes) -> None:
    answer = send_junk(server_3d, junk)
    assert not answer or answer.split()[1][:1] in (b"2", b"3", b"4"), answer[:300]


@given(
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=40),
    kept=st.sampled_from([1.0, 1.0, 1.0, 0.9, 0.5, 0.01]),
)
def test_damaged_uploads_are_no_error_of_the_server(
    server_3d: Server, resident: list[psutil.Process], golden_dir: Path, changes: list[tuple[float, int]], kept: float
) -> None:
    status, answer = send_damaged(server_3d, golden_dir / "projects" / "pc_3d.ilp", changes, kept)
    assert status in (201, 400, 409), answer[:500]
    assert b"Traceback" not in answer


def test_the_server_is_as_before(server_3d: Server, resident: list[psutil.Process]) -> None:
    assert server_3d.ask("/info/shape").text == "1_38_40_37_1"
