"""The page docs/reference/api.md: ``python -m web.api_reference > docs/reference/api.md``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.serving.catalogue import Catalogue
from pipeline.serving.engine import Engine
from web import create_app
from web.options import Options

HEAD = """# The API, route by route

Written by `python -m web.api_reference` from what a server says at `/api/v1/openapi.json`; `/api/v1/docs` of a running
server lets you try all of it. [HTTP](http.md) tells how the routes belong together, and how errors look."""
PLAIN = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "nothing"}


def render() -> str:
    """All operations with their parameters, then all documents that they take and give, as Markdown."""
    engine = Engine(Catalogue([], {}))
    try:
        document = create_app(engine, Options()).api_doc
    finally:
        engine.close()
    lines = [HEAD]
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for tag in dict.fromkeys(operation["tags"][0] for _, _, operation in operations):
        lines += ["", f"## {tag.capitalize()}"]
        for path, method, operation in operations:
            if operation["tags"][0] == tag:
                lines += ["", f"### `{method.upper()} {path}`", "", operation["summary"], *_describe(operation)]
    lines += ["", "## Documents"]
    for name, schema in sorted(document["components"]["schemas"].items()):
        if fields := schema.get("properties"):
            rows = [(f"`{field}`", _type(about), _cell(about)) for field, about in fields.items()]
            lines += ["", f"### {name}", *_table(("field", "type", "meaning"), rows)]
    return "\n".join(lines) + "\n"


def _describe(operation: Mapping[str, Any]) -> Iterator[str]:
    """Parameters, and what is answered."""
    parameters = operation.get("parameters", [])
    rows = [(f"`{one['name']}`", one["in"], _type(one["schema"], " or nothing"), _cell(one)) for one in parameters]
    yield from _table(("parameter", "in", "type", "meaning"), rows)
    for status, answer in operation["responses"].items():
        if status < "400":
            bodies = answer.get("content", {}).items()
            types = [_type(body["schema"]) if "$ref" in body.get("schema", {}) else kind for kind, body in bodies]
            yield from ("", f"Answers {status} with {' or '.join(types) or 'no document'}.")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table, without its last column where nothing is in it."""
    if rows:
        width = len(heads) if any(row[-1] for row in rows) else len(heads) - 1
        for row in ("", heads, ["---"] * width, *rows):
            yield f"| {' | '.join(row[:width])} |" if row else ""


def _type(schema: Mapping[str, Any], unsaid: str = "") -> str:
    """What a value may be, in words; `unsaid` is left out."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if choices := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(map(_type, choices))).removesuffix(unsaid)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("type") == "object" or "properties" in schema:
        return "object"
    return PLAIN.get(schema.get("type", ""), "anything")


def _cell(about: Mapping[str, Any]) -> str:
    """The meaning as a cell of a table."""
    text: str = about.get("description") or ""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(render(), end="")
