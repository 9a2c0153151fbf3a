"""The OpenAPI document, and Swagger's page for it from the files of its package: no other host is asked."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, render_template
from flask_openapi3 import Info, OpenAPI

from web.api_models import Problem
from web.errors import PROBLEM

TITLE = "VoxelForest"
STATUSES = {
    "400": "Malformed, or not to be had of this layer.",
    "401": "The token is missing.",
    "403": "From another origin, or by a name that is not the server's.",
    "404": "There is no such volume, layer or project.",
    "409": "Something else has to be done first.",
    "410": "The time of this is over.",
    "413": "More than one request may ask for, or send.",
    "416": "The region is empty or reaches out of the level.",
    "429": "Too many bulk requests; Retry-After says when to come again.",
    "503": "Too much is being done; Retry-After says when to come again.",
}
UPLOAD = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["name", "file"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"},
                    "file": {"type": "string", "format": "binary"},
                },
            }
        }
    },
}
RANGE = {"type": "string", "pattern": r"^ *[0-9]{1,9} *, *[0-9]{1,9} *$", "example": "0, 24"}
JOB = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["pipeline", "col", "exp", "z_range", "y_range", "x_range", "token"],
                "properties": {
                    "pipeline": {"type": "string", "description": "Name of an analysis."},
                    "col": {"type": "string", "description": "Collection in the archive."},
                    "exp": {"type": "string", "description": "Experiment in the collection."},
                    "z_range": RANGE,
                    "y_range": RANGE,
                    "x_range": RANGE,
                    "token": {"type": "string", "format": "password", "writeOnly": True},
                    "email": {"type": "string", "format": "email", "description": "Who is told of the outcome."},
                },
                "additionalProperties": {"type": ["string", "number", "boolean"]},
            }
        }
    },
}


def _body(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    properties = {"type": "object", "additionalProperties": False, "properties": {name: schema}}
    return {"required": False, "content": {"application/json": {"schema": properties}}}


JOB_BODIES = {
    "/api/v1/jobs": JOB,
    "/api/v1/estimates": JOB,
    "/api/v1/jobs/{job}/retry": _body("token", {"type": "string", "format": "password", "writeOnly": True}),
    "/api/v1/jobs/{job}/share": _body("public", {"type": "boolean"}),
}

blueprint = Blueprint(
    "api_pages",
    __name__,
    url_prefix="/api/v1",
    static_folder=str(files("flask_openapi3_swagger") / "templates" / "swagger"),
    static_url_path="/docs/files",
)


def make_app(version: str) -> OpenAPI:
    """An app that checks parameters of the new API and describes it."""
    from web.api import answer_invalid

    return OpenAPI(
        "web",
        info=Info(title=TITLE, version=version, description="Volumes, and what projects make of them, on demand."),
        doc_ui=False,
        validation_error_status=400,
        validation_error_model=Problem,
        validation_error_callback=answer_invalid,
    )


@blueprint.get("/openapi.json")
def get_document() -> Response:
    """The OpenAPI 3 document of this API."""
    return jsonify(describe(current_app))  # type: ignore[arg-type]


@blueprint.get("/docs")
def show_docs() -> str:
    """The API to try out, with Swagger."""
    return render_template("swagger.html")


@blueprint.get("/docs/start.js")
def start_docs() -> Response:
    """What starts Swagger on its page."""
    return Response(render_template("swagger.js"), content_type="text/javascript; charset=utf-8")


def describe(app: OpenAPI) -> dict[str, Any]:
    """The OpenAPI document: that of the models, with the upload's form, the problems and the token."""
    document = {**app.api_doc}
    answer = {"content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    problems = {status: {"description": text, **answer} for status, text in STATUSES.items()}
    paths = {
        path: {
            method: {**operation, "responses": {**operation["responses"], **problems}}
            for method, operation in operations.items()
        }
        for path, operations in document["paths"].items()
    }
    upload = paths["/api/v1/projects"]["post"]
    upload["requestBody"] = UPLOAD
    for path, fields in JOB_BODIES.items():
        paths[path]["post"]["requestBody"] = fields
    components = {**document["components"]}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return {**document, "paths": paths, "components": components, "security": [{}, {"token": []}]}
