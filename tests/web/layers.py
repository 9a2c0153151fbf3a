"""Layers of golden projects and their inputs, for tests of documents and keys; nothing is computed."""

from __future__ import annotations

from pathlib import Path

from pipeline.project import open_project
from pipeline.serving.catalogue import Catalogue
from pipeline.serving.layer import Layer, ServedVolume
from tests.runs import open_input


def make_layers(golden_dir: Path, project: str) -> dict[str, Layer]:
    """Layers by name of a golden project on its own input, the volume called `v`."""
    opened = open_project(golden_dir / "projects" / f"{project}.ilp")
    served = ServedVolume("v", open_input(golden_dir, project), (project,))
    return {layer.name: layer for layer in Catalogue([served], {project: opened}).layers("v")}
