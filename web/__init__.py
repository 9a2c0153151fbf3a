"""HTTP only: a route parses, calls `pipeline`, encodes. No science in here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask_openapi3 import OpenAPI

    from pipeline.serving.engine import Engine
    from web.options import Options


def create_app(engine: Engine, options: Options) -> OpenAPI:
    """The app over an engine.

    Parameters
    ----------
    engine : Engine
        What computes; routes find it as ``current_app.extensions["engine"]``.
    options : Options
        How the server presents itself.
    """
    from web.application import build  # Flask is loaded by those who serve

    return build(engine, options)
