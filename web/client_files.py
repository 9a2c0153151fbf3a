"""Neuroglancer's own files, from the Python package `neuroglancer`, under the path that they expect.

The package holds the build that Python programs talk to: it wants a page below ``/v/TOKEN/`` and a stream of events
from Python. Here its state comes from the URL, so the stream has nothing to say; a script that stands in for it spares
the server a thread for every open page.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as WsgiResponse

from web.errors import HttpError

PLACE = "/v/viewer/"
INDEX = "index.html"
STREAM = "event-stream.js"
INSTALL = "pip install 'voxelforest[viewer]'"
NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+", re.ASCII)
TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "wasm": "application/wasm",
    "map": "application/json",
}
# What the viewer needs and no more: itself, its workers and WebAssembly, its styles, and answers of this server.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; "
    "img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
EVENT_STREAM = """// Neuroglancer waits for a stream of events from Python; its state is in the URL, so there are none.
window.EventSource = class {
  constructor() {
    setTimeout(() => this.onopen && this.onopen(), 0);
  }
  close() {}
};
"""

blueprint = Blueprint("client_files", __name__, url_prefix=PLACE.rstrip("/"))


@functools.cache
def find_folder() -> Path | None:
    """Where Neuroglancer's files lie, None if it is not installed; the package itself is not imported."""
    found = importlib.util.find_spec("neuroglancer")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "static" / "client"
    return folder if (folder / INDEX).is_file() else None


@blueprint.get("/", defaults={"name": INDEX})
@blueprint.get("/<name>")
def give_file(name: str) -> WsgiResponse:
    """Neuroglancer; its state is in the fragment of the URL."""
    body = EVENT_STREAM.encode() if name == STREAM else _read(name)
    response = Response(body, content_type=TYPES[name.rpartition(".")[2]])
    hashed = name not in (INDEX, STREAM)
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
    if name == INDEX:
        response.headers["Content-Security-Policy"] = POLICY
    response.add_etag()
    return response.make_conditional(request)


def _read(name: str) -> bytes:
    """A file of the package; names with anything but letters, digits and dots are none."""
    folder = find_folder()
    if folder is None:
        raise HttpError(f"Neuroglancer is not installed: {INSTALL}; the page shows slices without it.", 404)
    if not NAME.fullmatch(name) or name.rpartition(".")[2] not in TYPES or not (folder / name).is_file():
        raise HttpError(f"Neuroglancer has no file {name[:200]!r}.", 404, given=name[:200])
    body = (folder / name).read_bytes()
    if name == INDEX:
        body = body.replace(b"<head>", f'<head><script src="{STREAM}"></script>'.encode(), 1)
    return body
