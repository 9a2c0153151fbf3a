"""The Flask app: hooks in their order, error handlers, and the blueprints."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

from flask_openapi3 import APIBlueprint, OpenAPI

from web import errors, logs
from web.api_pages import make_app
from web.blueprints import BLUEPRINTS
from web.metrics import Metrics
from web.options import Options
from web.security import Guard

if TYPE_CHECKING:
    from pipeline.serving.engine import Engine

LARGEST_BODY = 64 << 10  # bytes; a route that takes more says so itself


def build(engine: Engine, options: Options) -> OpenAPI:
    """The app over an engine; see `web.create_app`."""
    app = make_app(importlib.metadata.version("voxelforest"))
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["engine"] = engine
    app.extensions["options"] = options
    errors.register(app)
    # Before a request in this order, after it in the opposite one: the log and the count see what the guard refused.
    logs.register(app)
    Metrics(engine).register(app)
    Guard(options).register(app)
    for blueprint in BLUEPRINTS:
        if isinstance(blueprint, APIBlueprint):
            app.register_api(blueprint)
        else:
            app.register_blueprint(blueprint)
    return app
