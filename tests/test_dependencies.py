"""setup.cfg says ranges, constraints.txt one tested set of them, environment.yml the same for conda."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
NOT_FOR_CONDA = {"cloud", "boss", "viewer"}
# imagecodecs by tifffile: without it, a strip may unpack to any size. Of Swagger, only the files are served.
CALLED_BY_OTHERS = {"imagecodecs", "flask_openapi3_swagger"}
IMPORTED_AS = {"connected-components-3d": "cc3d", "pillow": "PIL", "scikit-learn": "sklearn"}


def _declared() -> dict[str, list[Requirement]]:
    """Requirements of setup.cfg by extra; the run-time ones under the empty name."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    texts = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {extra: [Requirement(line) for line in text.split("\n") if line] for extra, text in texts.items()}


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs), "constraints.txt holds exact pins alone"
    return dict(pairs)


def _installed_closure(names: list[str]) -> Iterator[tuple[str, str]]:
    """Name and version of each installed distribution that these bring along, themselves included."""
    seen: set[str] = set()
    todo = list(names)
    while todo:
        name = canonicalize_name(todo.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed here
        yield name, distribution.version
        needs = [Requirement(text) for text in distribution.requires or []]
        todo += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]


@pytest.mark.parametrize("extra", _declared())
def test_every_requirement_has_a_pin_in_its_range(extra: str) -> None:
    pins = _pins()
    for requirement in _declared()[extra]:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), str(requirement)


def test_every_requirement_has_a_lower_bound() -> None:
    for requirement in chain(*_declared().values()):
        assert [clause.operator for clause in requirement.specifier] == [">="], str(requirement)


def test_pins_are_what_is_installed() -> None:
    pins = _pins()
    installed = dict(_installed_closure([need.name for need in chain(*_declared().values())]))
    assert {name: pins.get(name) for name in installed} == installed


def test_environment_yml_has_the_same_versions() -> None:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    conda = dict(line.split("=") for line in listed if isinstance(line, str) and "=" in line)
    assert conda.pop("python") == "3.11"
    pins = _pins()
    groups = [needs for extra, needs in _declared().items() if extra not in NOT_FOR_CONDA]
    assert conda == {canonicalize_name(need.name): pins[canonicalize_name(need.name)] for need in chain(*groups)}


def _imported() -> set[str]:
    """First names of everything that the three packages import from elsewhere."""
    found: set[str] = set()
    for source in [path for top in ("numba_ops", "pipeline", "web") for path in (ROOT / top).rglob("*.py")]:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"numba_ops", "pipeline", "web"}


def test_declared_at_run_time_is_what_is_imported() -> None:
    names = [canonicalize_name(need.name) for need in _declared()[""]]
    declared = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names}
    extras = {need.name.replace("-", "_") for extra, needs in _declared().items() if extra for need in needs}
    assert _imported() - declared - extras - {"llvmlite"} == set(), "imported, but not in setup.cfg"
    assert declared - _imported() - CALLED_BY_OTHERS == set(), "in setup.cfg, but imported nowhere"
