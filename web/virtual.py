"""Virtual volumes: every layer as OME-Zarr 0.5, OME-Zarr 0.4 and precomputed, and as tiles to put on a page.

``/data/VOLUME/LAYER/DIGEST/DIALECT/KEY`` never changes, so chunks may be kept for a year and have an ETag that is
known before they are computed. The same path without the digest leads to the present one.

A chunk that cannot be made is refused in a way that no reader takes for an empty chunk (404) or asks for again and
again (429, 5xx).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from flask import Blueprint, Flask, Response, current_app, g, json, redirect, request
from flask.blueprints import BlueprintSetupState
from werkzeug.wrappers import Response as WsgiResponse

from pipeline.config import settings
from pipeline.errors import PipelineError
from pipeline.serving.contrast import Contrast
from pipeline.serving.layer import Layer
from web.chunk_bytes import gzipped
from web.chunk_keys import Chunk
from web.connection import watch
from web.dialects import Dialect, make_dialects
from web.errors import HttpError, status_of
from web.response_cache import Answer, ImmutableAnswers, ResponseCache

if TYPE_CHECKING:
    from pipeline.serving.engine import Engine

LOG = logging.getLogger("web")
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATED = "no-cache"
SOURCE_FAILED = 424  # Failed Dependency: nobody asks again at once, nobody takes it for an empty chunk
DIALECTS = ("zarr", "zarr2", "precomputed", "tiles")

blueprint = Blueprint("virtual", __name__, url_prefix="/data")


@blueprint.record_once
def _set_up(state: BlueprintSetupState) -> None:
    """Put what is kept before the app."""
    app = cast(Flask, state.app)
    app.extensions["contrast"] = contrast = Contrast(app.extensions["engine"])
    app.extensions["dialects"] = make_dialects(contrast)
    app.extensions["response_cache"] = cache = ResponseCache(settings().response_cache)
    app.wsgi_app = ImmutableAnswers(app, cache)  # type: ignore[method-assign]


@blueprint.get("/<volume>/<layer>/<path:rest>")
def read_virtual(volume: str, layer: str, rest: str) -> WsgiResponse:
    """A document, a chunk or a tile: /data/VOLUME/LAYER/DIGEST/DIALECT/KEY; without the digest, where the layer is."""
    catalogue = _engine().catalogue
    first, _, others = rest.partition("/")
    if first in DIALECTS:
        return _lead(catalogue.layer(volume, layer, request.args.get("project")), rest)
    name, _, key = others.partition("/")
    if name not in DIALECTS:
        raise HttpError(
            "There is nothing at this path.",
            404,
            given=request.path[:200],
            allowed=f"/data/VOLUME/LAYER/DIGEST/DIALECT/KEY, DIGEST/ may be missing; DIALECT: {', '.join(DIALECTS)}",
        )
    found = catalogue.by_digest(volume, layer, first)
    dialect: Dialect = current_app.extensions["dialects"][name]
    document = dialect.document(found, key)
    if document is not None:
        return _answer_document(document)
    chunk = dialect.chunk(found, key)
    if chunk is None:
        raise HttpError(f"There is no document and no chunk {key[:200]!r} in {name}.", 404, given=key[:200])
    return _answer_chunk(found, dialect, chunk)


def _engine() -> Engine:
    engine: Engine = current_app.extensions["engine"]
    return engine


def _lead(layer: Layer, rest: str) -> WsgiResponse:
    """To the present digest; readers follow, but ask anew each time."""
    place = "/".join(quote(part, safe="") for part in (layer.volume.name, layer.name, layer.digest))
    response = redirect(f"/data/{place}/{quote(rest)}", 307)
    response.headers["Cache-Control"] = REVALIDATED
    return response


def _answer_document(document: dict[str, Any]) -> WsgiResponse:
    response = Response(json.dumps(document), content_type="application/json")
    response.headers["Cache-Control"] = REVALIDATED
    response.add_etag()
    return response.make_conditional(request)


def _answer_chunk(layer: Layer, dialect: Dialect, chunk: Chunk) -> WsgiResponse:
    zipped = dialect.is_gzipped(layer) and request.accept_encodings["gzip"] > 0
    # The path names digest, level and chunk, which decide every byte; only how they are wrapped is not in it.
    etag = f"{layer.digest[:16]}{'-gzip' if zipped else ''}"
    response = Response(content_type=dialect.content_type)
    response.headers["Cache-Control"] = IMMUTABLE
    response.set_etag(etag)
    if dialect.is_gzipped(layer):
        response.headers["Vary"] = "Accept-Encoding"
    if etag in request.if_none_match:
        response.status_code = 304
        return response
    if zipped:
        response.headers["Content-Encoding"] = "gzip"
    if request.method == "HEAD":
        return _describe(response, None if zipped else dialect.size(layer, chunk))
    body = _make(layer, dialect, chunk)
    response.set_data(gzipped(body) if zipped else body)
    if not dialect.is_gzipped(layer):  # one URL, one body
        response.headers["Accept-Ranges"] = "bytes"
        kept = tuple(pair for pair in response.headers if pair[0] != "Content-Length")
        current_app.extensions["response_cache"].put(request.environ["PATH_INFO"], Answer(response.get_data(), kept))
    return response.make_conditional(request, accept_ranges=not zipped, complete_length=len(response.get_data()))


def _describe(response: Response, length: int | None) -> Response:
    """An answer to HEAD; of an unknown length where nothing short of computing would tell it."""
    response.headers["Accept-Ranges"] = "bytes"
    response.response = iter(())
    response.direct_passthrough = True  # else werkzeug would count what is there, and say 0
    if length is not None:
        response.headers["Content-Length"] = str(length)
    return response


def _make(layer: Layer, dialect: Dialect, chunk: Chunk) -> bytes:
    try:
        values = _engine().read(layer, chunk.level, chunk.start, chunk.stop, abandoned=watch())
        return dialect.encode(layer, values, chunk)
    except PipelineError as error:
        if status_of(error) != 500:
            raise
        LOG.error("chunk cannot be made", exc_info=error, extra={"request_id": g.get("request_id")})
        raise HttpError(
            "The data that this is made from cannot be read; the server's log says why, under the id in request_id.",
            SOURCE_FAILED,
            code="source",
        ) from error
