"""What a server is told to serve: a file in TOML, or one project and one volume on the command line.

::

    results = ["runs"]         # where finished runs of `voxelforest segment` are looked for, beside the volumes, too

    [[volumes]]
    name = "brain"
    path = "brain.zarr"        # relative to this file, or a URL
    dataset = "exported_data"  # optional, as are all below
    axes = "zyx"
    level = 0
    version = "2"
    projects = ["nuclei"]      # all by default, the first of them where a request names none
    labels = ["objects.zarr"]  # what `voxelforest segment` has written of this volume, if it is to be that one
    max_size = {x = 512}       # serve only the first part, with borders where it was cut

    [[projects]]
    name = "nuclei"
    path = "nuclei.ilp"
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.batch import nickname
from pipeline.errors import CatalogueError
from pipeline.suggestion import did_you_mean

LARGEST_FILE = 1 << 20  # bytes; thousands of volumes take less
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_SIZE = re.compile(r"[0-9]{1,15}", re.ASCII)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)


@dataclass(frozen=True)
class VolumeRow:
    """A volume; the options are those of `pipeline.volume.open_raw`, and the longest that axes may be."""

    name: str
    path: str
    dataset: str | None = None
    axes: str | None = None
    level: int = 0
    version: str | None = None
    projects: tuple[str, ...] | None = None
    max_size: tuple[tuple[str, int], ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProjectRow:
    """A project file."""

    name: str
    path: str


@dataclass(frozen=True)
class Configuration:
    """What is to be served."""

    volumes: tuple[VolumeRow, ...] = ()
    projects: tuple[ProjectRow, ...] = ()
    results: tuple[str, ...] = ()


def configure(
    project: str | None,
    raw: str,
    *,
    dataset: str | None = None,
    axes: str | None = None,
    level: int = 0,
    max_size: str | None = None,
) -> Configuration:
    """One volume and at most one project, named after their files; `max_size` as ``x=512,y=512``."""
    projects = () if project is None else (ProjectRow(_name_of(Path(project).stem), project),)
    limits = () if max_size is None else _limits(_split(max_size), "max_size")
    volume = VolumeRow(_name_of(nickname(raw)), raw, dataset, axes, level, max_size=limits)
    return Configuration((volume,), projects)


def check_name(name: str) -> str:
    """`name` itself, if it can be part of a URL.

    Raises
    ------
    CatalogueError
        Saying which names can.
    """
    if not _NAME.fullmatch(name):
        raise CatalogueError(
            f"the name {name!r}: up to 100 letters, digits, '.', '_' and '-' are allowed, a letter or digit first"
        )
    return name


def read_configuration(path: str | os.PathLike[str]) -> Configuration:
    """Read a configuration file.

    Raises
    ------
    CatalogueError
        If it cannot be read, or says something that is not allowed; the message names the place.
    """
    file = Path(path)
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise CatalogueError(f"{file}: larger than {LARGEST_FILE} bytes, so no configuration")
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogueError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{file}: not TOML: {error}") from error
    try:
        return _parse(document, file.absolute().parent)
    except CatalogueError as error:
        raise CatalogueError(f"{file}: {error.message}") from error


def _parse(document: Mapping[str, Any], folder: Path) -> Configuration:
    _check_keys(document, ("volumes", "projects", "results"), "the file")
    volumes = tuple(_volume(row, folder) for row in _rows(document, "volumes"))
    projects = tuple(_project(row, folder) for row in _rows(document, "projects"))
    if not volumes:
        raise CatalogueError("no volume is named; add a table [[volumes]] with name and path")
    for kind, names in (("volumes", [v.name for v in volumes]), ("projects", [p.name for p in projects])):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise CatalogueError(f"two {kind} are called {twice!r}")
    results = tuple(_absolute(path, folder) for path in _texts(document, "results", "the file") or ())
    for path in results:
        if not os.path.isdir(path):
            raise CatalogueError(f"results names {path}, which is no folder")
    return Configuration(volumes, projects, results)


def _rows(document: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    rows = document.get(kind, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CatalogueError(f"{kind} is to be written as tables: [[{kind}]]")
    return rows


def _volume(row: Mapping[str, Any], folder: Path) -> VolumeRow:
    _check_keys(row, [field.name for field in fields(VolumeRow)], "a volume")
    name, path = _name_and_path(row, "a volume", folder)
    where = f"volume {name}"
    projects = _texts(row, "projects", where)
    level = row.get("level", 0)
    if not isinstance(level, int) or isinstance(level, bool) or level < 0:
        raise CatalogueError(f"{where}: level is to be a number from 0, not {level!r}")
    return VolumeRow(
        name,
        path,
        _text(row, "dataset", where),
        _text(row, "axes", where),
        level,
        _text(row, "version", where),
        projects,
        _limits(row.get("max_size", {}), f"{where}: max_size"),
        tuple(_absolute(path, folder) for path in _texts(row, "labels", where) or ()),
    )


def _split(text: str) -> dict[str, Any]:
    """What a text such as ``x=512,y=512`` says of each axis."""
    pairs = [part.partition("=") for part in text.replace(" ", "").split(",")]
    return {axis: int(n) if _SIZE.fullmatch(n) else n for axis, _, n in pairs}


def _limits(given: Any, where: str) -> tuple[tuple[str, int], ...]:
    good = isinstance(given, dict) and all(
        axis in tuple("tczyx") and isinstance(n, int) and not isinstance(n, bool) and n >= 1
        for axis, n in given.items()
    )
    if not good:
        raise CatalogueError(f"{where} is to give lengths of axes, such as x=512, each at least 1; not {given!r}")
    return tuple(given.items())


def _project(row: Mapping[str, Any], folder: Path) -> ProjectRow:
    _check_keys(row, [field.name for field in fields(ProjectRow)], "a project")
    return ProjectRow(*_name_and_path(row, "a project", folder))


def _name_and_path(row: Mapping[str, Any], what: str, folder: Path) -> tuple[str, str]:
    name, path = _text(row, "name", what), _text(row, "path", what)
    if not name or not path:
        raise CatalogueError(f"{what} needs name and path; given: {', '.join(row) or 'nothing'}")
    return check_name(name), _absolute(path, folder)


def _absolute(path: str, folder: Path) -> str:
    return path if "://" in path else os.path.join(folder, os.path.expanduser(path))


def _texts(row: Mapping[str, Any], key: str, where: str) -> tuple[str, ...] | None:
    value = row.get(key)
    if value is not None and not (isinstance(value, list) and all(isinstance(text, str) for text in value)):
        raise CatalogueError(f"{where}: {key} is to be a list of texts, not {value!r}")
    return None if value is None else tuple(value)


def _text(row: Mapping[str, Any], key: str, where: str) -> str | None:
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        raise CatalogueError(f"{where}: {key} is to be a text, not {value!r}")
    return value


def _check_keys(row: Mapping[str, Any], known: list[str] | tuple[str, ...], where: str) -> None:
    for key in row:
        if key not in known:
            raise CatalogueError(f"{where} has no setting {key!r}: {', '.join(known)}{did_you_mean(key, known)}")


def _name_of(stem: str) -> str:
    return check_name(_NOT_IN_NAMES.sub("-", stem).strip("-._")[:100] or "data")
