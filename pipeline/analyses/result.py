"""What an analysis leaves: a folder, described by ``provenance.json`` once it is finished, and the same in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.durability import make_folder, write_errors, write_file
from pipeline.errors import StoreError

if TYPE_CHECKING:
    import pandas

TABLE, PARQUET, REPORT, PROVENANCE = "table.csv", "table.parquet", "report.html", "provenance.json"
DETECTIONS, CLASSES, DATA = "detections.zarr", "classes.zarr", "data.zarr"
OBJECTS = "objects"  # the label image in DETECTIONS


@dataclass(frozen=True, eq=False)
class AnalysisResult:
    """Finished results.

    Parameters
    ----------
    folder : Path
    table : pandas.DataFrame
        One row for each detection, by id.
    objects : int
        How many detections there are.
    parameters : dict
        All of them, typed; paths as text.
    volumes : dict of str to str
        What is pushed to an archive: name, and the zarr folder inside `folder`, uint8 0 or 255, (z, y, x).
    origin_zyx : tuple of int
        Place of the first voxel in what was analysed.
    links : dict of str to str
        Further files inside `folder`, by what they are.
    reused : bool
        Whether they were there already.
    """

    folder: Path
    table: pandas.DataFrame = field(repr=False)
    objects: int
    parameters: dict[str, Any]
    volumes: dict[str, str]
    origin_zyx: tuple[int, int, int] = (0, 0, 0)
    links: dict[str, str] = field(default_factory=dict)
    reused: bool = False


def make_default_folder(name: str, digest: str) -> Path:
    """Where results go that nobody gave a place; what it lies in is made.

    Raises
    ------
    WriteError
        If that cannot be made.
    """
    from pipeline.config import settings

    place = settings().data_dir / "analyses"
    with write_errors(place):
        make_folder(place)
    return place / f"{name}-{digest[:32]}"


def write_provenance(folder: Path, document: Mapping[str, Any]) -> None:
    """Write what makes a folder a finished result; JSON values.

    Raises
    ------
    WriteError
        If the disk is full or fails.
    """
    path = folder / PROVENANCE
    with write_errors(path):
        write_file(path, (json.dumps(dict(document), indent=1) + "\n").encode())


def read_provenance(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What a folder of results says of itself; None if it is not finished."""
    try:
        document = json.loads((Path(folder) / PROVENANCE).read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and "digest" in document else None


def open_result(folder: str | os.PathLike[str], *, reused: bool = True) -> AnalysisResult:
    """A finished result from its folder.

    Raises
    ------
    StoreError
        If there is none.
    """
    import pandas

    place = Path(folder)
    document = read_provenance(place)
    if document is None:
        raise StoreError(f"{place} holds no finished results: there is no {PROVENANCE} of ours")
    try:
        table = pandas.read_csv(place / TABLE)
    except (OSError, ValueError) as error:
        raise StoreError(f"{place / TABLE} cannot be read: {error}") from error
    z, y, x = document["origin_zyx"]
    return AnalysisResult(
        folder=place,
        table=table,
        objects=document["objects"],
        parameters=document["parameters"],
        volumes=document["volumes"],
        origin_zyx=(z, y, x),
        links=document["links"],
        reused=reused,
    )
