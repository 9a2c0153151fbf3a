"""What lies beside the images of a result: table, report, and where all of it comes from."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.analyses.analysis import AnalysisRequest
from pipeline.analyses.channels import ChannelSet
from pipeline.analyses.folder import ResultFolder
from pipeline.analyses.result import PARQUET, REPORT, TABLE, write_provenance
from pipeline.analyses.thumbnails import Thumbnails
from pipeline.blocks import Index, grid_shape
from pipeline.config import settings
from pipeline.images import ImageSpec
from pipeline.object_files import write_table
from pipeline.object_table import Columns

if TYPE_CHECKING:
    import pandas


def specify_image(
    channels: ChannelSet, block: Index, chunk: Index, name: str, dtype: str, *, n_channels: int = 0, **more: Any
) -> ImageSpec:
    """An image of the volume, (z, y, x), or (c, z, y, x) with `n_channels`.

    Parameters
    ----------
    channels : ChannelSet
    block, chunk : tuple of int, (t, z, y, x)
        What one task writes, and how it is stored.
    name, dtype, **more
        As in `ImageSpec`.
    n_channels : int
    """
    sharded = math.prod(grid_shape(channels.whole, chunk)) > settings().shard_above
    file = [-(-n // c) * c for n, c in zip(block, chunk, strict=True)]
    first = [n_channels] if n_channels else []
    return ImageSpec(
        name,
        "czyx" if n_channels else "zyx",
        (*first, *channels.shape_zyx),
        (*first, *chunk[1:]),
        dtype,
        spacing=channels.spacing,
        units=channels.units,
        origin=dict(zip("zyx", map(float, channels.origin_zyx), strict=True)),
        shards=(*first, *file[1:]) if sharded else None,
        **more,
    )


def describe_origin(request: AnalysisRequest) -> dict[str, Any]:
    """Where results come from, as JSON values; the same for all files."""
    channels = request.channels
    return {
        "software": f"voxelforest {version('voxelforest')}",
        "analysis": request.name,
        "digest": request.digest,
        "parameters": {name: _plain(value) for name, value in request.parameters.items()},
        "channels": channels.urls,
        "channel_digests": {name: volume.digest for name, volume in channels.items()},
        "origin_zyx": list(channels.origin_zyx),
        "shape_zyx": list(channels.shape_zyx),
        "spacing": channels.spacing,
        "units": channels.units,
    }


def _plain(value: Any) -> Any:
    """A JSON value; of a file its name alone, since results are shown to people whom the server's folders are not."""
    return value.name if isinstance(value, Path) else value


def write_documents(
    request: AnalysisRequest,
    folder: ResultFolder,
    table: pandas.DataFrame,
    *,
    volumes: Mapping[str, str],
    links: Mapping[str, str],
    said: Mapping[str, Any],
    thumbnails: Thumbnails | None,
    class_names: Sequence[str] = (),
) -> None:
    """Write table and report, and at last what says that nothing is missing but the images' names.

    Parameters
    ----------
    request : AnalysisRequest
    folder : ResultFolder
    table : pandas.DataFrame
    volumes, links : mapping of str to str
        As in `AnalysisResult`; table and report are added.
    said : mapping
        JSON values that provenance gets beyond the origin.
    thumbnails : Thumbnails, optional
    class_names : sequence of str
        In the order in which they are shown.
    """
    from pipeline.report import write_report  # what it draws with is large

    place, origin, channels = folder.partial, describe_origin(request), request.channels
    found = {"table": TABLE, "report": REPORT, **links}
    write_table(place / TABLE, [table], origin)
    if importlib.util.find_spec("pyarrow") is not None:
        write_table(place / PARQUET, [table], origin)
        found["parquet"] = PARQUET
    shown = {name: str(value) for name, value in origin["parameters"].items() if value is not None}
    z, y, x = (channels.spacing.get(axis, 1.0) for axis in "zyx")
    write_report(
        table,
        place / REPORT,
        title=f"{request.name}: {len(table):,} detection{'s' if len(table) != 1 else ''}",
        parameters={**shown, "channels": ", ".join(channels)},
        thumbnails=thumbnails.draw if thumbnails is not None else None,
        spacing_zyx=(z, y, x),
        unit=Columns("zyx", channels.whole.shape, channels.spacing, channels.units, ()).unit,
        shape_zyx=channels.shape_zyx,
        origin_zyx=channels.origin_zyx,
        class_names=class_names,
    )
    document = {**origin, "objects": len(table), "volumes": dict(volumes), "links": found, **said}
    write_provenance(place, document)
