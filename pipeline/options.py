"""Options that several commands share, and opening the volume that they name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.volume import Volume

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable: JSON on stdout, progress as JSON lines.")]
Dataset = Annotated[str | None, typer.Option(help="Array inside the file, where there are several.")]
Axes = Annotated[str | None, typer.Option(help="Axes of the file in its order, such as zyx or yxc.")]
Level = Annotated[int, typer.Option(min=0, help="Level of a multiscale volume, 0 the finest.")]

Scheduler = Annotated[
    str, typer.Option(help="threads, local (processes), tcp://host:port, tls://host:port, or ec2 (rented machines).")
]
Workers = Annotated[
    str | None,
    typer.Option(
        metavar="N|MIN..MAX",
        help="Threads, processes or machines; between two bounds their number follows the work. The cores by default, "
        "0..20 on EC2.",
    ),
]
MaxCost = Annotated[
    float | None,
    typer.Option(min=0.01, metavar="USD", help="With ec2: what machines may cost; they switch themselves off before."),
]
Logfile = Annotated[
    str | None, typer.Option(metavar="FILE", help="Put the logs of the scheduler and of all workers here at the end.")
]
PerformanceReport = Annotated[
    str | None,
    typer.Option(
        "--performance-report",
        metavar="FILE",
        help="Put Dask's report on the run here: a page (.html) of its tasks over time, memory and transfers.",
    ),
]


def open_named(
    path: str,
    tell: Callable[[str], None],
    *,
    dataset: str | None = None,
    axes: str | None = None,
    level: int = 0,
    project_axes: str | None = None,
) -> Volume:
    """Open a volume and say which axes it was given, and why; see `pipeline.volume.open_raw`."""
    from pipeline.axes import AxesGuessedWarning
    from pipeline.volume import open_raw

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AxesGuessedWarning)  # said in the line below
        volume = open_raw(path, dataset=dataset, axes=axes, level=level, project_axes=project_axes)
    tell(f"{volume.url}: {volume.axes_reason}")
    return volume
