"""The page at ``/doc``: every route with what it does and its methods, as the old services had one each."""

from __future__ import annotations

import inspect

from flask import Blueprint, current_app, render_template

blueprint = Blueprint("routes", __name__)


@blueprint.get("/doc")
def list_routes() -> str:
    """This list."""
    app = current_app
    order = {name: number for number, name in enumerate(app.blueprints)}
    rows = []
    for rule in app.url_map.iter_rules():
        if rule.endpoint.endswith("static"):
            continue
        view = app.view_functions[rule.endpoint]
        text = inspect.cleandoc(view.__doc__ or "").split("\n\n")
        methods = sorted((rule.methods or set()) - {"OPTIONS", "HEAD"})
        rows.append((order.get(rule.endpoint.split(".")[0], -1), rule.rule, methods, text))
    rows.sort(key=lambda row: (row[0], row[1]))
    return render_template("routes.html", rows=[row[1:] for row in rows])
