"""Every notebook runs from top to bottom, and shows as many pictures as it was stored with."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

from tests.notebooks.execute import NOTEBOOKS

ROOT = Path(__file__).parents[2]


def _shown(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """For each cell of code, the kinds of its outputs, such as image/png; texts on streams apart."""
    return [
        [kind for output in cell.outputs if "data" in output for kind in output.data]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_shows_what_is_stored(path: Path, tmp_path: Path) -> None:
    stored = nbformat.read(path, as_version=4)
    assert [kind for kinds in _shown(stored) for kind in kinds if kind == "image/png"], "make notebooks stores pictures"
    # In a process of its own: the kernel's client leaves sockets to the garbage collector.
    command = [sys.executable, "-m", "tests.notebooks.execute", str(path), str(tmp_path / "shown.ipynb")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert _shown(nbformat.read(tmp_path / "shown.ipynb", as_version=4)) == _shown(stored)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_begins_with_what_you_will_have_at_the_end(path: Path) -> None:
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert "At the end you will have" in first.source


def test_no_stored_output_names_a_folder_of_the_machine_it_ran_on() -> None:
    for path in NOTEBOOKS:
        text = path.read_text(encoding="utf-8")
        assert str(Path.home()) not in text
        assert str(path.parents[1]) not in text
        assert tempfile.gettempdir() + "/" not in text
