"""One row of the table of settings."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from pydantic.config import JsonDict

MIB = 1 << 20


def row(default: Any, unit: str, description: str, *, shown: str | None = None, **limits: Any) -> Any:
    """One row of the table; `shown` is the default as the docs print it, where the value itself differs by machine."""
    extra: JsonDict = {"unit": unit, "shown": shown}
    if callable(default):
        return Field(default_factory=default, description=description, json_schema_extra=extra, **limits)
    return Field(default, description=description, json_schema_extra=extra, validate_default=True, **limits)
