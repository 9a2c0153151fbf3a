"""What tests of serving share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pytest

from pipeline.config import settings
from pipeline.serving import recipe
from pipeline.serving.engine import Engine
from tests.commands import SMALL_BLOCKS
from tests.served import make_catalogue

Array = npt.NDArray[Any]
Limit = Callable[[str, object], None]
Start = Callable[..., Engine]
Gate = Callable[[], None]


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Limit]:
    """Set a setting; chunks are of 16 x 16 x 16 voxels to begin with."""

    def change(name: str, value: object) -> None:
        monkeypatch.setenv(f"VOXELFOREST_{name.upper()}", str(value))
        settings.cache_clear()

    for name, value in SMALL_BLOCKS.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield change
    settings.cache_clear()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Make an engine over a volume of 37 x 50 x 41 voxels; closed at the end."""
    engines: list[Engine] = []
    catalogues: dict[str, Any] = {}

    def make(axes: str = "zyx", **options: Any) -> Engine:
        if axes not in catalogues:
            catalogues[axes] = make_catalogue(tmp_path, axes)
        engines.append(Engine(catalogues[axes], **{"workers": 2, **options}))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Let every block made from files wait, inside its task, until this is called or a test ends."""
    gate = threading.Event()
    compute = recipe.ProbabilityRecipe.compute

    def wait(self: recipe.ProbabilityRecipe, level: int, box: Any) -> Array:
        gate.wait(30)
        return compute(self, level, box)

    monkeypatch.setattr(recipe.ProbabilityRecipe, "compute", wait)
    yield gate.set
    gate.set()
