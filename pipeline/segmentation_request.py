"""What is to be segmented, where to, and how."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.clusters.terms import Terms
from pipeline.clusters.workers import Workers
from pipeline.metadata import OmeVersion
from pipeline.output import Mode
from pipeline.probability_map import ProbabilityMap
from pipeline.thresholding import Thresholding
from pipeline.volume import Volume


@dataclass(frozen=True)
class SegmentationRequest:
    """What to segment, and where to.

    Parameters
    ----------
    source : ProbabilityMap
    path : path
        The output: .zarr, or a file of `pipeline.writers`, which holds the labels alone.
    thresholding : Thresholding
        Its channels are those of the map, its range is the map's.
    connectivity : {"face", "full"}
    renumber : bool
        Whether ids have no gaps.
    raw : Volume, optional
        Measured for the table, and shown in the picture; of the shape of the map's volume.
    inputs : tuple of str
        Files that no output may replace.
    table, preview : path, optional
        CSV or Parquet, and PNG.
    compress : bool
        Whether an HDF5 output is compressed.
    cancelled : callable, optional
        As in `pipeline.window.run_windowed`.
    ome_version, mode, scheduler, workers, terms
        As in `pipeline.run.Request`.
    """

    source: ProbabilityMap
    path: str | os.PathLike[str]
    thresholding: Thresholding
    connectivity: str = "face"
    renumber: bool = True
    raw: Volume | None = None
    inputs: tuple[str, ...] = ()
    table: str | os.PathLike[str] | None = None
    preview: str | os.PathLike[str] | None = None
    compress: bool = False
    cancelled: Callable[[], bool] | None = None
    ome_version: OmeVersion = "0.5"
    mode: Mode = "new"
    scheduler: str = "threads"
    workers: int | Workers | None = None
    terms: Terms = field(default_factory=Terms)
