"""What an analysis found, as one page to look at: a file of HTML that needs nothing else, no network either.

The page shows the parameters, pictures of detections, where they lie (to be turned by hand, and along each axis), how
bright they are in every channel, how brightness is distributed and correlated, and how far apart they are, for all
detections and for each class. The same table gives the same page to the byte. It is bounded: of many detections some
are drawn, which the page says, while every number counts all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas

__all__ = ["write_report"]


def write_report(
    table: pandas.DataFrame,
    path: Path,
    *,
    title: str,
    parameters: Mapping[str, str],
    shape_zyx: Sequence[int],
    thumbnails: Callable[[Mapping[str, Any]], npt.NDArray[np.uint8] | None] | None = None,
    spacing_zyx: Sequence[float] = (1.0, 1.0, 1.0),
    origin_zyx: Sequence[int] = (0, 0, 0),
    unit: str = "voxel",
    class_names: Sequence[str] = (),
) -> None:
    """Write the page.

    Parameters
    ----------
    table : pandas.DataFrame
        One row for each detection: `id`, the place `z`, `y`, `x` in voxels, `size` in voxels; where there are some
        `class` (text), `measurable` (bool), `position_z`, `position_y`, `position_x` in `unit`, and a column
        ``sum_NAME`` for each channel, NaN where a detection was not measured.
    path : Path
        Of the file, which is whole or absent.
    title : str
    parameters : mapping of str to str
        What the analysis was done with; shown as it is.
    shape_zyx : sequence of int
        Voxels of the volume that was analysed.
    thumbnails : callable, optional
        Draws the surroundings of a row of the table, (y, x) or (y, x, 3) uint8, or None where it cannot.
    spacing_zyx : sequence of float
        Size of a voxel in `unit`.
    origin_zyx : sequence of int
        Voxel that the volume begins with, where it was cut from a larger one.
    unit : str
    class_names : sequence of str, optional
        The classes in the order in which they are shown; by default by their names.

    Raises
    ------
    WriteError
        If the disk is full or fails.
    """
    from pipeline.durability import write_errors, write_file
    from pipeline.report.detections import Detections, Space
    from pipeline.report.page import make_page

    space = Space(tuple(shape_zyx), tuple(map(float, spacing_zyx)), tuple(origin_zyx), unit)
    page = make_page(Detections.of(table, space, class_names), title, parameters, thumbnails)
    with write_errors(path):
        write_file(Path(path).absolute(), page.encode())
