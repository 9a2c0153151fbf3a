"""Tables, JSON, notes and error lines."""

from __future__ import annotations

import json

import pytest

from pipeline.console import show, show_error, show_note
from pipeline.description import Section

SECTIONS = (
    Section("Classes [of a file]", ("label", "name"), (("1", "Nucleus"), ("2", "[red]bold[/red] \x1b[2J"))),
    Section("Empty", ("label",), ()),
)


def test_tables_show_text_from_files_as_it_is_but_for_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    show(SECTIONS, {}, as_json=False)
    shown = capsys.readouterr()
    assert shown.err == ""
    for text in ("Classes [of a file]", "Nucleus", "[red]bold[/red] \N{REPLACEMENT CHARACTER}[2J"):
        assert text in shown.out
    assert "\x1b" not in shown.out


def test_json_is_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    show(SECTIONS, {"classes": ["Zellkern", "Gewebe\x1b"]}, as_json=True)
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"classes": ["Zellkern", "Gewebe\x1b"]}
    assert "\x1b" not in shown.out


def test_note_and_error_are_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    show_note("axes\nzyx", as_json=False)
    assert show_error("cut\noff", 2, as_json=False, code="not_hdf5") == 2
    assert show_error("full", 1, as_json=False) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["axes zyx", "voxelforest: cut off [not_hdf5]", "voxelforest: full"]


def test_note_and_error_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    show_note("axes zyx", as_json=True)
    show_error("cut off", 2, as_json=True, code="not_hdf5")
    assert [json.loads(line) for line in capsys.readouterr().err.splitlines()] == [
        {"event": "Note", "text": "axes zyx"},
        {"event": "Error", "message": "cut off", "code": "not_hdf5", "exit_code": 2},
    ]
