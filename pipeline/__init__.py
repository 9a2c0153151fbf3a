"""VoxelForest: ilastik pixel classification on volumes of any size, lazily.

Names are imported on first use, so that looking at a project does not load numba, Dask or xarray.

Examples
--------
>>> from pipeline import open_project, open_volume, predict, segment
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "open_volume": "pipeline.volume",
    "open_project": "pipeline.project",
    "measure": "pipeline.measurement",
    "predict": "pipeline.lazy",
    "segment": "pipeline.lazy_labels",
    "train": "pipeline.training",
}
__all__ = ["measure", "open_project", "open_volume", "predict", "segment", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)
