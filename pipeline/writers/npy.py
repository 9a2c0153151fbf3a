"""NPY, and beside it ``<name>.npy.json`` with axes, names and record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.durability import write_file
from pipeline.metadata import OWN_KEY
from pipeline.writers.layout import Picture, Readable, fill_mapped, read_quietly, whole_file


def check(picture: Picture) -> None:
    """Any image fits."""


def write(array: Readable, picture: Picture, temporary: Path, path: Path) -> None:
    """Write the file and its sidecar; see `pipeline.writers.Writer.write`.

    The sidecar comes first: it names the size and time of the file it belongs to, so that one without the other,
    or beside a file that was changed since, is seen as such.
    """
    spec = picture.spec
    with whole_file(picture, temporary, path):
        fill_mapped(picture, array, temporary, _begin(picture, temporary))
        notes = {
            "axes": picture.order,
            "class_names": list(spec.channel_names),
            "spacing": spec.spacing,
            "units": spec.units,
        }
        document = {**notes, "file": _stamp(temporary), OWN_KEY: picture.record}
        write_file(_sidecar(path), json.dumps(document, indent=2).encode())


def read_record(path: Path) -> Mapping[str, Any] | None:
    """The record beside the file; None, too, if the file was changed since."""
    return read_quietly(lambda: _read(path))


def _read(path: Path) -> Any:
    document = json.loads(_sidecar(path).read_text())
    return document[OWN_KEY] if document["file"] == _stamp(path) else None


def _begin(picture: Picture, path: Path) -> int:
    """Make the file with its header; returns where the values begin."""
    return int(np.lib.format.open_memmap(path, "w+", picture.dtype, picture.shape).offset)


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
