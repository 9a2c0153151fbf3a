"""The table of detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.analyses.boxes import is_measurable
from pipeline.analyses.channels import ChannelSet

if TYPE_CHECKING:
    import pandas

SUM = "sum_"


def places_of(objects: pandas.DataFrame) -> npt.NDArray[np.int64]:
    """Centroids in whole voxels of what was analysed, truncated; (n, 3) of z, y, x."""
    return np.stack([objects[f"centroid_{axis}"].to_numpy(np.float64) for axis in "zyx"], axis=1).astype(np.int64)


def make_synapse_table(
    objects: pandas.DataFrame,
    places: npt.NDArray[np.int64],
    sums: npt.NDArray[np.float64],
    classes: npt.NDArray[np.int64],
    channels: ChannelSet,
    class_names: Sequence[str],
) -> pandas.DataFrame:
    """One row for each detection, by id.

    Parameters
    ----------
    objects : pandas.DataFrame
        As `pipeline.object_table.make_table` makes it.
    places : ndarray, (n, 3), int64
        Of the centroids, in the volume that was analysed.
    sums : ndarray, (n, channels), float64
        NaN where a detection cannot be measured.
    classes : ndarray, (n,)
    channels : ChannelSet
    class_names : sequence of str
        Of the values of `classes`; empty where nothing was classified.

    Returns
    -------
    pandas.DataFrame
        `id`, `z`, `y`, `x` (the truncated centroid, in voxels of what the volume was cut from), `size`, `class` (where
        there are classes), `measurable` (whether the measured box lies inside), `position_z` and so on in `unit`, what
        `pipeline.measurement.measure` tells of shapes, and ``sum_NAME`` for each channel; a channel whose sums are all
        0 is left out.
    """
    import pandas

    table = {"id": objects["id"].to_numpy(), "size": objects["size"].to_numpy()}
    absolute = places + np.array(channels.origin_zyx)
    where = {axis: absolute[:, k] for k, axis in enumerate("zyx")}
    kept = [name for name in objects.columns if name not in ("id", "size") and not name.startswith("centroid_")]
    shapes = {name: objects[name].to_numpy() for name in kept}
    for axis, origin in zip("zyx", channels.origin_zyx, strict=True):
        for end in ("start", "stop"):
            shapes[f"bbox_{axis}_{end}"] = shapes[f"bbox_{axis}_{end}"] + origin
    labelled = {"class": np.array(class_names, object)[classes]} if len(class_names) else {}
    measurable = is_measurable(places, channels.shape_zyx)
    measured = {
        f"{SUM}{name}": sums[:, k]
        for k, name in enumerate(channels)
        if not measurable.any() or np.any(sums[measurable, k] != 0)
    }
    columns = {"id": table["id"], **where, "size": table["size"], **labelled, "measurable": measurable}
    return pandas.DataFrame({**columns, **shapes, **measured})
