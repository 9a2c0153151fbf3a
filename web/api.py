"""The API for scripts: what there is, regions of it in several formats, projects, the cache. OpenAPI 3 describes it."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, jsonify, request
from flask_openapi3 import APIBlueprint, Tag
from werkzeug.datastructures import FileStorage

from pipeline.config import settings
from pipeline.serving.engine import Engine
from pipeline.serving.uploads import receive
from web import api_models as models
from web.connection import watch
from web.descriptions import describe_layer, describe_project, describe_volume
from web.errors import HttpError, problem
from web.roi import parse_region
from web.roi_answers import CONTENT_TYPES, encode

FORM_BYTES = 64 << 10  # of an upload, beside the file
READING = Tag(name="reading", description="Volumes, their layers, and regions of them.")
PROJECTS = Tag(name="projects", description="Trained classifiers.")
SERVER = Tag(name="server", description="What the server keeps.")
ROI_BODY = {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in CONTENT_TYPES.values()}}

blueprint = APIBlueprint("api", __name__, url_prefix="/api/v1")


@blueprint.get("/volumes", tags=[READING], responses={200: models.VolumeList})
def list_volumes() -> Response:
    """All volumes, in the order of the configuration."""
    catalogue = _engine().catalogue
    return jsonify(volumes=[describe_volume(catalogue, served) for served in catalogue.volumes.values()])


@blueprint.get("/volumes/<volume>", tags=[READING], responses={200: models.VolumeInfo})
def get_volume(path: models.VolumePath) -> Response:
    """One volume."""
    catalogue = _engine().catalogue
    return jsonify(describe_volume(catalogue, catalogue.volume(path.volume)))


@blueprint.get("/volumes/<volume>/layers", tags=[READING], responses={200: models.LayerList})
def list_layers(path: models.VolumePath, query: models.ProjectQuery) -> Response:
    """The layers of a volume with a project: the volume's first one, unless another is named."""
    check_query()
    return jsonify(layers=[describe_layer(each) for each in _engine().catalogue.layers(path.volume, query.project)])


@blueprint.get("/volumes/<volume>/layers/<layer>", tags=[READING], responses={200: models.LayerInfo})
def get_layer(path: models.LayerPath, query: models.ProjectQuery) -> Response:
    """One layer: axes, levels, colours, and the URLs that viewers read."""
    check_query()
    return jsonify(describe_layer(_engine().catalogue.layer(path.volume, path.layer, query.project)))


@blueprint.get("/volumes/<volume>/layers/<layer>/roi", tags=[READING], responses={200: ROI_BODY})
def get_roi(path: models.LayerPath, query: models.RoiQuery) -> Response:
    """Values of a region of a level.

    Axes given as a single index are missing from npy, raw and hdf5, as with NumPy. Headers X-VoxelForest-Dims, -Shape,
    -Dtype tell what came. A PNG shows one plane; TIFF holds any number.
    """
    check_query()
    layer = _engine().catalogue.layer(path.volume, path.layer, query.project)
    level = int(query.level)
    region = parse_region(layer, level, query.model_dump(include=set("tczyx")))
    layer.check_region(level, region.start, region.stop)
    # The digest and the query decide every byte.
    response = Response(content_type=CONTENT_TYPES[query.format])
    response.set_etag(layer.digest[:16])
    response.headers["Cache-Control"] = "no-cache"
    if layer.digest[:16] in request.if_none_match:
        response.status_code = 304
        return response
    values = _engine().read(layer, level, region.start, region.stop, abandoned=watch())
    response = encode(layer, level, region, values, query.format, query.colors, query.window)
    response.set_etag(layer.digest[:16])
    return response


@blueprint.get("/projects", tags=[PROJECTS], responses={200: models.ProjectList})
def list_projects() -> Response:
    """All projects: those of the configuration, then uploads."""
    catalogue = _engine().catalogue
    return jsonify(projects=[describe_project(catalogue, *row) for row in catalogue.projects.items()])


@blueprint.get("/projects/<project>", tags=[PROJECTS], responses={200: models.ProjectInfo})
def get_project(path: models.ProjectPath) -> Response:
    """One project: its classes, and the volumes that it fits."""
    catalogue = _engine().catalogue
    return jsonify(describe_project(catalogue, path.project, catalogue.project(path.project)))


@blueprint.post("/projects", tags=[PROJECTS], responses={201: models.ProjectInfo})
def add_project() -> tuple[Response, int, dict[str, str]]:
    """Upload a project: a form (multipart/form-data) with `name` and `file`, an .ilp that was trained and saved.

    It is read, not run. It is kept over a restart, and offered on all volumes that it fits.
    """
    request.max_content_length = settings().upload_bytes + FORM_BYTES
    name, file = request.form.get("name"), request.files.get("file")
    if not isinstance(file, FileStorage) or not name or set(request.form) | set(request.files) != {"name", "file"}:
        raise HttpError(
            "an upload is a form (multipart/form-data) with the fields name and file",
            code="form",
            given=", ".join(sorted({*request.form, *request.files}))[:200],
            allowed="name, file",
        )
    catalogue = _engine().catalogue
    project = receive(catalogue, name, file.stream)
    location = f"{blueprint.url_prefix}/projects/{name}"
    return jsonify(describe_project(catalogue, name, project)), 201, {"Location": location}


@blueprint.get("/cache", tags=[SERVER], responses={200: models.CacheInfo})
def get_cache() -> Response:
    """What the cache of blocks and that of encoded answers hold, and how often they were of use."""
    numbers = {**_engine().statistics(), **current_app.extensions["response_cache"].statistics()}
    asked = numbers["hits"] + numbers["misses"]
    return jsonify(hit_rate=numbers["hits"] / asked if asked else 0.0, numbers=numbers)


def check_query() -> None:
    """Refuse a parameter that is given twice: which one was meant?

    Raises
    ------
    HttpError
        400, naming it.
    """
    for name, values in request.args.lists():
        if len(values) > 1:
            raise HttpError(
                f"{name[:100]} is given {len(values)} times", code="query", given=name[:100], allowed="once"
            )


def _engine() -> Engine:
    engine: Engine = current_app.extensions["engine"]
    return engine


def answer_invalid(error: Any) -> Response:
    """The answer to parameters that are not as described."""
    first = error.errors(include_url=False, include_input=True)[0]
    name = ".".join(str(part) for part in first["loc"])
    model = getattr(models, error.title, None)
    field = model.model_fields.get(name) if model is not None else None
    allowed = (field.description if field else None) or ", ".join(model.model_fields if model else ())
    given = f"{name}={str(first.get('input'))[:100]}"
    return problem(400, f"{name[:100]}: {first['msg']}", code="query", given=given, allowed=allowed)
