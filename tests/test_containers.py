"""The container's files name what exists. No engine runs here: images are not built and services not started."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import run_here

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]


def test_image_holds_files_that_exist_and_extras_that_are_declared() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = [word for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]]
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored, name
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', DOCKERFILE)
    assert set(extras.split(",")) <= set(config["options.extras_require"])


def _served() -> list[list[str]]:
    (default,) = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    return [SERVICES["front"]["command"].split(), yaml.safe_load(default)]


@pytest.mark.parametrize("command", _served(), ids=" ".join)
def test_front_end_is_started_with_options_that_there_are(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = run_here(capsys, "serve", "--help")
    options = [word for word in command if word.startswith("--")]
    assert options
    assert [option for option in options if option not in "\n".join(shown.out)] == []


def test_only_the_front_end_is_reached_from_outside_and_only_with_a_token() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["front"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["front"]["ports"])
    assert ":?" in SERVICES["front"]["environment"]["VOXELFOREST_TOKEN"]
    assert all(SERVICES[name]["networks"] == ["inside"] for name in ("scheduler", "worker"))
