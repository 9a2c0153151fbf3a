"""What holds for all commands: JSON for programs, and a guess where a name is nearly right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pytest
import typer
import zarr

from pipeline.cli import app, join_commands
from pipeline.config import Settings, unknown_variables
from tests.commands import run_here

EXCEPTIONS = {
    "cluster policy": "its result is a document of JSON anyway",
    "jobs run": "it has no result but the jobs, and `jobs list` has --json",
    "jobs check": "its exit code is the answer",
}


def commands() -> dict[str, Any]:
    """All of them, by how they are called."""
    join_commands()

    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        below = getattr(command, "commands", None)
        if below is None:
            yield " ".join(path), command
        for name, inner in (below or {}).items():
            yield from walk(inner, (*path, name))

    return dict(walk(typer.main.get_command(app), ()))


def _options(command: Any) -> list[str]:
    return [name for parameter in command.params for name in parameter.opts if name.startswith("--")]


def test_every_command_speaks_json() -> None:
    silent = {name for name, command in commands().items() if "--json" not in _options(command)}
    assert silent == EXCEPTIONS.keys()


def test_every_command_and_option_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in commands().items():
        *above, last = name.split()
        assert f"Did you mean '{last}'" in run_here(capsys, *above, last + "x").err[-1], name
        option = _options(command)[0]
        outcome = run_here(capsys, *name.split(), option[:-1])
        assert (outcome.code, option in outcome.err[-1]) == (2, True), name


@pytest.mark.parametrize("kind", ["h5", "zarr"])
def test_name_of_a_dataset_is_guessed(tmp_path: Any, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    values = np.zeros((4, 5, 6), np.uint8)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["exported_data"] = values
    zarr.open_group(tmp_path / "v.zarr", mode="w").create_array("exported_data", data=values)
    outcome = run_here(capsys, "info", tmp_path / f"v.{kind}", "--dataset", "exported_dat")
    assert outcome.code == 2
    assert "did you mean exported_data?" in outcome.err[-1]


def test_scheme_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean precomputed?" in run_here(capsys, "info", "precomputd://x/y").err[-1]


def test_variables_that_are_no_settings_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"VOXELFOREST_{name.upper()}", "1")
    assert not unknown_variables().keys() - {"VOXELFOREST_REFERENCE"}
    monkeypatch.setenv("VOXELFOREST_TASK_MEMROY", "1GB")
    said = "no such setting; did you mean VOXELFOREST_TASK_MEMORY?"
    assert unknown_variables()["VOXELFOREST_TASK_MEMROY"] == said
    monkeypatch.undo()
    monkeypatch.setenv("VOXELFOREST_TASK_MEMROY", "1GB")
    assert said in "\n".join(run_here(capsys, "doctor", "--json").out)
