"""Analyses of multichannel volumes, found by name.

An analysis is described by one `Analysis`: what it is called, what its parameters are, which channels it needs and
what it costs. The command line, the form and the reference page are made from these descriptions. Another package
adds an analysis by an entry point in the group ``voxelforest.analyses`` that names such a description; nothing else
changes.

Examples
--------
>>> names()
('nomads-classifier', 'nomads-unsupervised', 'pixel-classification')
>>> get("nomads-unsupervised")(channels, "results")  # doctest: +SKIP
"""

from __future__ import annotations

import functools
import importlib.metadata
from typing import TYPE_CHECKING

from pipeline.errors import AnalysisError
from pipeline.suggestion import did_you_mean

if TYPE_CHECKING:
    from pipeline.analyses.analysis import Analysis

GROUP = "voxelforest.analyses"
__all__ = ["get", "names"]


@functools.cache
def _entries() -> dict[str, importlib.metadata.EntryPoint]:
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}


def names() -> tuple[str, ...]:
    """Names of the analyses that are installed, sorted."""
    return tuple(sorted(_entries()))


def get(name: str) -> Analysis:
    """The analysis of this name.

    Raises
    ------
    AnalysisError
        With the code ``analysis``, if there is none, listing what there is, or if the package that it is in is broken.
    """
    entry = _entries().get(name)
    if entry is None:
        text = f"there is no analysis {name!r}; there are {', '.join(names())}{did_you_mean(name, names())}"
        raise AnalysisError(text, code="analysis")
    from pipeline.analyses.analysis import Analysis

    try:
        analysis = entry.load()
    except Exception as error:  # somebody else's package may fail in any way
        raise AnalysisError(f"the analysis {name} cannot be loaded from {entry.value}: {error}", "analysis") from error
    if not isinstance(analysis, Analysis) or analysis.name != name:
        raise AnalysisError(f"the entry point {name} = {entry.value} is no Analysis of this name", code="analysis")
    return analysis
