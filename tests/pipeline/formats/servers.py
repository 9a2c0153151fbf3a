"""Servers for the tests of remote volumes, on this machine alone: files over HTTP, and S3."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import fsspec
import pytest
from zarr.core.sync import sync

from pipeline.bucket import bucket
from pipeline.formats.handles import close_handles


class FaultyHandler(SimpleHTTPRequestHandler):
    """Gives out the files of a folder; every `every`-th request fails with `status`, and listings are denied."""

    def __init__(self, *args: Any, every: int, status: int, seen: Counter[str], **options: Any) -> None:
        self._every, self._status, self._seen = every, status, seen
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        self._seen["all"] += 1
        self._seen[self.path] += 1
        if self._every and self._seen["all"] % self._every == 0:
            self._seen["failed"] += 1
            self.send_error(self._status)
        elif "Range" in self.headers:
            self._send_part(self.headers["Range"].removeprefix("bytes="))
        else:
            super().do_GET()

    def _send_part(self, wanted: str) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        contents = path.read_bytes()
        first, _, last = wanted.partition("-")
        part = contents[int(first) : int(last or len(contents)) + 1] if first else contents[-int(last) :]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def list_directory(self, path: Any) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def http_server(folder: Path, *, every: int = 0, status: int = 503) -> Iterator[tuple[str, Counter[str]]]:
    """URL of a folder behind a real server, and the counts of its requests: ``all``, ``failed``, and of each path."""
    seen: Counter[str] = Counter()
    handler = partial(FaultyHandler, directory=str(folder), every=every, status=status, seen=seen)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


class Faults:
    """WSGI middleware: every `every`-th request for a chunk fails with 503; keys with `denied` in them with 403."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.every = 0
        self.seen: Counter[str] = Counter()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        self.seen["all"] += 1
        status = ""
        if self.every and self.seen["all"] % self.every == 0:
            self.seen["failed"] += 1
            status = "503 Slow Down"
        elif "denied" in environ["PATH_INFO"]:
            status = "403 Forbidden"
        if not status:
            return self._app(environ, start_response)
        code = "AccessDenied" if status.startswith("403") else "ServiceUnavailable"
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


@contextmanager
def s3_server() -> Iterator[tuple[str, Faults]]:
    """URL of moto's S3 on this machine, and the faults to inject."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_request(self, *args: Any) -> None:
            pass

    faults = Faults(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, faults, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", faults
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def volumes_bucket() -> Iterator[Faults]:
    """moto's S3 with a bucket ``volumes``, and the environment that leads to it; what s3fs keeps of it goes with it."""
    import s3fs

    with s3_server() as (url, faults), pytest.MonkeyPatch.context() as patch:
        names = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        for name, value in {**names, "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": "/nowhere"}.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        if not s3fs.S3FileSystem().exists("volumes"):  # moto's state is the process's, not the server's
            s3fs.S3FileSystem().mkdir("volumes")
        yield faults
        close_handles()
        bucket("volumes").close()
        bucket.cache_clear()
        systems = list(s3fs.S3FileSystem._cache.values())
        s3fs.S3FileSystem.clear_instance_cache()
        for system in systems:
            if system._s3 is not None and system.asynchronous:
                sync(system._s3.close())
            elif system._s3 is not None:
                fsspec.asyn.sync(system.loop, system._s3.close)
