"""What the page for users of ilastik-backend says stands in for something, works."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.metadata import axistags
from tests.commands import COMMAND
from tests.servers import Address, serving, serving_here

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "from-ilastik-backend.md"
TABLE = "\n".join(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| "))
SPANS = dict.fromkeys(re.findall(r"`([^`]+)`", "\n".join(line.split(" | ", 1)[1] for line in TABLE.splitlines()[1:])))
COMMANDS = [span for span in SPANS if span.startswith("voxelforest ")]
REQUESTS = [span for span in SPANS if span.startswith(("GET /", "POST /"))]
VALUES = {"/threshold/set": 0.6, "/channel/set": 1, "/presmoothingsigmas/set": [2, 1, 1]}


@pytest.fixture(scope="module")
def folder(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's files lie."""
    home = tmp_path_factory.mktemp("migration")
    (home / "pc.ilp").write_bytes((golden_dir / "projects" / "pc_3d.ilp").read_bytes())
    with h5py.File(home / "raw.h5", "w") as file:
        file["exported_data"] = np.load(golden_dir / "in_3d_u8.npy")
        file["exported_data"].attrs["axistags"] = axistags("zyx", {})
    (home / "served.toml").write_text(
        '[[volumes]]\nname = "raw"\npath = "raw.h5"\n[[projects]]\nname = "pc"\npath = "pc.ilp"\n'
    )
    return home


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Address]:
    """The server that the page's requests are asked of."""
    with serving_here(folder / "pc.ilp", folder / "raw.h5") as running:
        assert running.ask("/prediction/raw/0").status == 200  # connects to where blocks are computed
        yield running


def test_the_table_names_commands_and_requests() -> None:
    assert len(COMMANDS) >= 9
    assert len(REQUESTS) > 8


@pytest.mark.parametrize("command", [command for command in COMMANDS if " serve " not in command])
def test_command_runs(folder: Path, command: str) -> None:
    words = shlex.split(command)[1:]
    done = subprocess.run([COMMAND, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [command for command in COMMANDS if " serve " in command])
def test_server_starts_and_answers(folder: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    words = shlex.split(command)[2:]
    if "--port" in words:
        assert words[-2:] == ["--port", "0"]
        words = words[:-2]
    monkeypatch.chdir(folder)
    with serving(*words, folder=folder) as running:
        assert running.ask("/raw/info/dim").text == "3"


@pytest.mark.parametrize("request_", REQUESTS)
def test_request_is_answered(server: Address, request_: str) -> None:
    method, target = request_.split()
    body = json.dumps({"value": VALUES[target]}).encode() if method == "POST" else None
    reply = server.ask(target, method=method, body=body)
    assert reply.status == 200, reply.text
