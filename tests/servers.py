"""The real server as a process of its own, for tests that talk HTTP to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from werkzeug.serving import make_server

from pipeline.serving.engine import Engine
from tests.commands import COMMAND
from web import create_app
from web.options import Options
from web.serve import open_catalogue

READY = "listening on "
NO_ARCHIVE = "http://127.0.0.1:9"
START_SECONDS = 240.0  # kernels may have to be compiled
STOP_SECONDS = 45.0
# Limits so small that a little volume has several chunks, and several of the old services' blocks.
SMALL = {"VOXELFOREST_CHUNK_VOXELS": "4096", "VOXELFOREST_OLD_BLOCK_EDGE": "16"}


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Address:
    """Where something answers HTTP.

    Parameters
    ----------
    url : str
    """

    url: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def ask(
        self, target: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Reply:
        """Send one request over a connection of its own; `target` goes out as it is."""
        connection = http.client.HTTPConnection(*self.address, timeout=120)
        with contextlib.closing(connection):
            connection.request(method, target, body, dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())

    def send(self, request: bytes, *, seconds: float = 60.0) -> bytes:
        """Send bytes as they are; returns all that comes back until the server hangs up."""
        with socket.create_connection(self.address, timeout=seconds) as connection:
            connection.sendall(request)
            parts = []
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(1 << 16):
                    parts.append(part)
            return b"".join(parts)


@dataclass(frozen=True)
class Server(Address):
    """A server that is running, as a process of its own.

    Parameters
    ----------
    process : Popen
    log : Path
        What it writes on stderr.
    """

    process: subprocess.Popen[str]
    log: Path

    def logged(self) -> list[dict[str, Any]]:
        """The lines of the log that are JSON."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        return psutil.Process(self.process.pid).children()


@contextlib.contextmanager
def serving(
    *arguments: object, folder: Path, environment: Mapping[str, str] | None = None, port: int = 0
) -> Iterator[Server]:
    """A server while the context lasts; then it is asked to stop, and has to stop cleanly.

    Parameters
    ----------
    arguments
        Of ``voxelforest serve``.
    folder : Path
        For its data and its log.
    environment : mapping, optional
        Added to that of the tests.
    """
    log = folder / "server.log"
    # No test asks an archive that it did not start.
    data = {"VOXELFOREST_DATA_DIR": str(folder / "data"), "VOXELFOREST_BOSS_URL": NO_ARCHIVE}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [COMMAND, "serve", *map(str, arguments), "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, **data, "VOXELFOREST_BOSS_RETRIES": "0", **(environment or {})},
            start_new_session=True,
        )
    try:
        yield Server(_wait_until_ready(process, log), process, log)
    finally:
        stop(process)


@contextlib.contextmanager
def serving_here(project: Path | None, raw: Path, *, token: str | None = None, **options: Any) -> Iterator[Address]:
    """The app in a thread of this process, which spares the two seconds that a process takes to start.

    Parameters
    ----------
    project, raw : Path
    token : str, optional
    options
        Of the volume, as `web.serve.open_catalogue` takes them.
    """
    engine = Engine(open_catalogue(None if project is None else str(project), str(raw), None, **options))
    server = make_server("127.0.0.1", 0, create_app(engine, Options(token=token)), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Address(f"http://127.0.0.1:{server.port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        engine.close()


def stop(process: subprocess.Popen[str], with_signal: int = signal.SIGTERM) -> int:
    """Ask a server to stop, and wait until all its processes have; returns its exit code."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(with_signal)
    try:
        code = process.wait(STOP_SECONDS)
        _, running = psutil.wait_procs(children, timeout=5)
        assert running == []
        return code
    finally:
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _wait_until_ready(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(process.stdout.readline()), daemon=True)  # type: ignore[union-attr]
    reader.start()
    reader.join(START_SECONDS)
    said = lines[0] if lines else ""
    if said.startswith("{"):  # for programs
        return str(json.loads(said)["listening"])
    assert said.startswith(READY), f"the server said {said!r}\n{log.read_text(encoding='utf-8')[-4000:]}"
    return said.removeprefix(READY).strip()
