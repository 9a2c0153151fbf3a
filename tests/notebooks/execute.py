"""Runs notebooks as a person would, cell by cell, and keeps what they show: `make notebooks`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 300  # a cell may take; kernels may have to be compiled first


def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with all cells run in order, in an empty kernel whose working directory is `folder`.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails; the message shows the cell and the traceback.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as sockets:  # of files, not ports: nobody else on the machine can send code
        manager = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{sockets}/kernel")
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, manager, timeout=SECONDS, resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day, different in every run
    return notebook


def main() -> int:
    """Run all notebooks and write them back with their outputs; or the first file named, into the second one."""
    for path in [Path(sys.argv[1])] if len(sys.argv) > 1 else NOTEBOOKS:
        print(f"running {path.name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            shown = nbformat.writes(execute(path, Path(folder))).replace(f"{folder}/", "")  # no folder of this machine
        Path(sys.argv[2] if len(sys.argv) > 2 else path).write_text(f"{shown}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
