"""The page to look at volumes: Neuroglancer in a frame where it can run, else slices made of pictures, and a panel."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, current_app, redirect, render_template, request
from werkzeug.wrappers import Response as WsgiResponse

from pipeline.errors import PipelineError, PlanError
from pipeline.serving.catalogue import Catalogue
from pipeline.serving.contrast import Contrast
from pipeline.serving.engine import Engine
from pipeline.serving.layer import Layer
from web import client_files
from web.documents.images import value_range
from web.snippets import make_snippets
from web.tiles import describe
from web.viewer_state import hex_color, make_state

LOG = logging.getLogger("web")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

blueprint = Blueprint("page", __name__, template_folder="templates")


@blueprint.get("/")
def show_page() -> WsgiResponse:
    """The page to look at volumes; volume= and project= choose, else it shows the first. Without any, that of jobs."""
    engine: Engine = current_app.extensions["engine"]
    catalogue = engine.catalogue
    if not catalogue.volumes:
        return redirect("/jobs", 303)
    name = request.args.get("volume") or catalogue.first.name
    volume = catalogue.volume(name)
    project = request.args.get("project") or next(iter(volume.projects), None)
    layers, misfit = _find_layers(catalogue, name, project)
    base = request.host_url.rstrip("/")
    state = make_state(layers, _window(layers[0]), base)
    fragment = quote(json.dumps(state, separators=(",", ":")))
    viewer = f"{client_files.PLACE}#!{fragment}" if client_files.find_folder() else None
    text = render_template(
        "page.html",
        volume=name,
        project=project,
        volumes=list(catalogue.volumes),
        projects=list(catalogue.projects),
        facts=_facts(layers),
        layers=layers,
        config={"viewer": viewer, "layers": [_describe(layer) for layer in layers]},
        install=client_files.INSTALL,
        misfit=misfit,
        snippets=make_snippets(layers, base, f"{base}{viewer}" if viewer else None),
    )
    response = Response(text)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.get("/favicon.ico")
def give_icon() -> Response:
    """The page's icon."""
    response = current_app.send_static_file("favicon.svg")
    response.headers["Cache-Control"] = "public, max-age=86400"
    return response


def _find_layers(catalogue: Catalogue, volume: str, project: str | None) -> tuple[Sequence[Layer], str | None]:
    """The layers of a volume, and why there is raw data alone where a project does not fit it."""
    try:
        return catalogue.layers(volume, project), None
    except PlanError as error:
        return [catalogue.layer(volume, "raw")], error.message


def _window(layer: Layer) -> tuple[float, float]:
    """What is black and white; the page is to open also where data cannot be read."""
    contrast: Contrast = current_app.extensions["contrast"]
    try:
        return contrast.window(layer)
    except PipelineError as error:
        LOG.warning("contrast of %s cannot be measured: %s", layer.volume.name, error)
        return layer.value_range or value_range(layer.dtype) or (0.0, 1.0)


def _describe(layer: Layer) -> dict[str, Any]:
    """What the slice viewer has to know of a layer."""
    return {
        **describe(layer, (0.0, 1.0) if layer.name != "raw" else _window(layer)),
        "name": layer.name,
        "tiles": f"/data/{quote(layer.volume.name)}/{layer.name}/{layer.digest}/tiles/",
        "classes": list(layer.channel_names),
        "colors": [hex_color(color) for color in layer.channel_colors],
        "channels": layer.n_channels,
    }


def _facts(layers: Sequence[Layer]) -> list[tuple[str, str]]:
    """What the panel tells about volume and project."""
    raw = layers[0]
    size = " × ".join(f"{axis} {n:,}" for axis, n in zip(raw.dims, raw.levels[0].shape, strict=True))
    facts = [("size", size), ("type", raw.dtype.name)]
    sizes = {axis: f"{axis} {raw.spacing[axis]:g} {raw.units.get(axis, '')}".strip() for axis in raw.spacing}
    if sizes:
        facts.append(("voxel", ", ".join(sizes[axis] for axis in raw.dims if axis in sizes)))
    project = layers[-1].project
    if project is not None:
        last = project.stages[-1]
        facts += [
            ("workflow", f"{project.workflow}, ilastik {project.version}"),
            ("forest", f"{last.forest.n_trees} trees, {last.forest.n_columns} features"),
        ]
    return facts
