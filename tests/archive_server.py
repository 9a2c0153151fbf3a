"""A volume archive over sockets, as BOSS answers: volumes from arrays or functions, and faults on demand.

Written from the service's own interface (`/v1/collection`, `/v1/coord`, `/v1/cutout`), independent of the reference's.
"""

from __future__ import annotations

import json
import math
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import blosc
import numpy as np

from tests.archive_contents import Archive, Channel, Place

DRIP_SECONDS = 0.05


class Refusal(Exception):
    """An answer that is none of 2xx."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body go out in two writes
    archive: Archive

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self) -> None:
        """Take a request and answer it, or not."""
        line = f"{self.command} {self.path}"
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.archive.lock:
            self.archive.requests.append(line)
            self.archive.headers.append(dict(self.headers))
        fault = self.archive.fault(line)
        if fault == "stall":
            self.archive.closing.wait(60)
        if fault in ("drop", "stall"):
            self.close_connection = True
            return
        try:
            if fault.isdigit():
                raise Refusal(int(fault), f"this was to fail; you sent {self.headers.get('Authorization')}")
            status, kind, content = self._find(body, fault)
        except Refusal as refusal:
            document = {"status": refusal.status, "code": 9999, "message": str(refusal)}
            status, kind, content = refusal.status, "application/json", json.dumps(document).encode()
        if fault == "lost":  # done, but nobody is told
            self.close_connection = True
            return
        self._send(fault, status, kind, content)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def _send(self, fault: str, status: int, kind: str, content: bytes) -> None:
        if fault == "elsewhere":
            status = 302
        if fault == "page":
            kind, content = "text/html", b"<html>log in</html>"
        if fault == "short":
            content = content[: len(content) // 2]
        if fault == "bomb":
            content = content[:4] + (1 << 30).to_bytes(4, "little") + content[8:]
        if fault == "long":
            content = bytes(64 << 20)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if fault == "elsewhere":
            self.send_header("Location", self.archive.url + "/v1/elsewhere")
        if fault == "gzip":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        try:
            if fault == "drip":
                for byte in content:
                    self.wfile.write(bytes([byte]))
                    if self.archive.closing.wait(DRIP_SECONDS):
                        break
            self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
        except OSError:  # the client had enough
            self.close_connection = True
        if fault == "cut":
            self.close_connection = True

    def _find(self, body: bytes, fault: str) -> tuple[int, str, bytes]:
        rights = self._rights()
        parts = [part for part in self.path.partition("?")[0].split("/") if part]
        if parts[:1] != ["v1"]:
            raise Refusal(404, "no such version")
        if parts[1] == "coord":
            return self._frame(parts[2])
        if parts[1] == "collection":
            return self._project(parts[2:], body, rights)
        if parts[1] == "cutout":
            return self._cutout(parts[2:], body, rights, fault)
        raise Refusal(404, f"no service {parts[1]}")

    def _rights(self) -> str:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        if kind != "Token" or token not in self.archive.tokens:
            raise Refusal(401, f"Invalid token {token}.")
        return self.archive.tokens[token]

    def _place(self, collection: str, experiment: str, rights: str, wanted: str) -> Place:
        place = self.archive.places.get((collection, experiment))
        if place is None:
            raise Refusal(404, f"{collection}/{experiment} does not exist")
        if wanted not in rights:
            raise Refusal(403, "Missing permissions on the resource")
        return place

    def _frame(self, name: str) -> tuple[int, str, bytes]:
        collection, _, experiment = name.partition(".")
        place = self.archive.places.get((collection, experiment))
        if place is None:
            raise Refusal(404, "no such frame")
        document: dict[str, Any] = {"name": name, "description": "", "voxel_unit": place.unit}
        for axis, start, stop, size in zip("zyx", place.start, place.stop, place.spacing, strict=True):
            document |= {f"{axis}_start": start, f"{axis}_stop": stop, f"{axis}_voxel_size": size}
        return _json(document)

    def _project(self, parts: list[str], body: bytes, rights: str) -> tuple[int, str, bytes]:
        collection, experiment = parts[0], parts[2]
        place = self._place(collection, experiment, rights, "w" if self.command == "POST" else "r")
        if len(parts) == 3:
            frame = f"{collection}.{experiment}"
            return _json({"name": experiment, "description": "", "creator": "t", "coord_frame": frame})
        if len(parts) == 4:
            return _json({"channels": list(place.channels)})
        name = parts[4]
        if self.command == "POST":
            wanted = json.loads(body)
            if wanted["datatype"] not in ("uint8", "uint16", "uint64"):
                raise Refusal(400, "unknown data type")
            with self.archive.lock:
                if name in place.channels:
                    raise Refusal(400, "A channel with that name already exists")
                shape = [b - a for a, b in zip(place.start, place.stop, strict=True)]
                place.channels[name] = Channel(wanted["datatype"], wanted["type"], np.zeros(shape, wanted["datatype"]))
        elif name not in place.channels:
            raise Refusal(404, f"channel {name} does not exist")
        channel = place.channels[name]
        document = {"name": name, "type": channel.kind, "datatype": channel.dtype, "base_resolution": channel.base}
        return _json(document, 201 if self.command == "POST" else 200)

    def _cutout(self, parts: list[str], body: bytes, rights: str, fault: str) -> tuple[int, str, bytes]:
        black = parts[0] == "to_black"
        collection, experiment, name, level, *ranges = parts[black:]
        place = self._place(collection, experiment, rights, "r" if self.command == "GET" else "w")
        channel = place.channels.get(name)
        if channel is None:
            raise Refusal(404, f"channel {name} does not exist")
        if level != "0" or len(ranges) != 3 or not all(re.fullmatch(r"\d+:\d+", text) for text in ranges):
            raise Refusal(400, "cannot be parsed")
        x, y, z = [[int(n) for n in text.split(":")] for text in ranges]
        start, stop = (z[0], y[0], x[0]), (z[1], y[1], x[1])
        if not all(a <= b < c <= d for a, b, c, d in zip(place.start, start, stop, place.stop, strict=True)):
            raise Refusal(400, "outside of the coordinate frame")
        shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        if math.prod(shape) * np.dtype(channel.dtype).itemsize > 500_000_000:
            raise Refusal(413, "over 500MB")
        inside = tuple(slice(a - o, b - o) for a, b, o in zip(start, stop, place.start, strict=True))
        if self.command == "GET":
            data = channel.data[inside] if channel.data is not None else channel.make(start, stop)  # type: ignore[misc]
            if fault == "shape":
                data = data[..., : shape[2] // 2]
            packed = blosc.compress(np.ascontiguousarray(data).tobytes(), typesize=data.itemsize)
            return 200, "application/blosc", packed
        assert channel.data is not None
        if black:
            channel.data[inside] = 0
            return 200, "application/json", b""
        raw = blosc.decompress(body)
        if len(raw) != math.prod(shape) * channel.data.itemsize:
            raise Refusal(400, "Data dimensions in URL do not match")
        channel.data[inside] = np.frombuffer(raw, channel.dtype).reshape(shape)
        return 201, "application/json", b""


def _json(document: object, status: int = 200) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(document).encode()


@contextmanager
def serving(archive: Archive, context: ssl.SSLContext | None = None) -> Iterator[Archive]:
    """Answer at a free port of loopback, `archive.url`, until the block ends; with a context, by HTTPS."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"archive": archive}))
    server.daemon_threads = True
    archive.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}"
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield archive
    finally:
        archive.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
