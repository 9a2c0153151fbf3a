"""Imports point one way: numba_ops <- pipeline <- web; each policy keeps to its module."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for top in ("numba_ops", "pipeline", "web") for path in (ROOT / top).rglob("*.py"))
NEVER = {"tests", "benchmarks", "notebooks", "pickle"}
LIBRARIES = {"h5py", "zarr", "fsspec", "dask", "distributed", "xarray", "PIL", "sqlite3"}
IO = LIBRARIES | {"os", "io", "shutil", "tempfile"}
FORBIDDEN = {
    "numba_ops": NEVER | LIBRARIES | {"pipeline", "web", "flask", "logging"},
    "pipeline": NEVER | {"web", "flask"},
    "web": NEVER,
    "pipeline/plan.py": IO,
    "pipeline/blocks.py": IO | {"numpy", "pathlib"},
}


def _imports(source: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(source.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.split(".")[0] for name in plain | {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_imports_only_what_its_place_allows(source: Path) -> None:
    name = source.relative_to(ROOT).as_posix()
    assert _imports(source) & (FORBIDDEN[name.split("/")[0]] | FORBIDDEN.get(name, set())) == set()


def test_environment_is_read_in_config_alone() -> None:
    words = {path.name: set(re.findall(r"\bos\.environ\b|\bgetenv\b", path.read_text("utf-8"))) for path in SOURCES}
    assert [name for name, found in words.items() if found] in ([], ["config.py"])
