"""The command line: parse, call one function, print; errors become one line and an exit code.

Results go to stdout, progress and notes to stderr. Commands of other packages join through the entry-point group
``voxelforest.commands``.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import resource
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.errors import PipelineError

app = typer.Typer(
    name="voxelforest",
    help="ilastik pixel classification on volumes of any size, in parallel blocks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable: JSON on stdout, progress as JSON lines.")]
Dataset = Annotated[str | None, typer.Option(help="Array inside the file, where there are several.")]
Axes = Annotated[str | None, typer.Option(help="Axes of the file in its order, such as zyx or yxc.")]
Level = Annotated[int, typer.Option(min=0, help="Level of a multiscale volume, 0 the finest.")]


@app.command()
def info(
    path: Annotated[str, typer.Argument(help="A project (.ilp) or a volume.")],
    project: Annotated[Path | None, typer.Option(help="Say what predicting the volume with this project costs.")] = None,
    dataset: Dataset = None,
    axes: Axes = None,
    level: Level = 0,
    as_json: AsJson = False,
) -> None:
    """What a project or a volume is, and what predicting it would cost."""
    from pipeline import console, description

    if path.endswith(".ilp"):
        from pipeline.project import open_project

        opened = open_project(path)
        console.show(description.describe(opened), description.to_dict(opened), as_json)
        return
    from pipeline import volume_description
    from pipeline.project import open_project
    from pipeline.volume import open_raw

    trained = open_project(project) if project else None
    with _notes():
        volume = open_raw(path, dataset=dataset, axes=axes, level=level, project_axes=trained.axes if trained else None)
    sections, document = volume_description.describe(volume, trained)
    console.show(sections, document, as_json)


@app.command()
def predict(
    project: Annotated[Path, typer.Argument(help="ilastik project (.ilp).")],
    raw: Annotated[str, typer.Argument(help="Volume: .zarr, .h5, .npy, .png, .jpg.")],
    out: Annotated[Path, typer.Argument(help="Output: .zarr (OME-Zarr), .h5 (as ilastik exports), .npy.")],
    dataset: Dataset = None,
    axes: Axes = None,
    level: Level = 0,
    roi: Annotated[str | None, typer.Option(help="Part of the volume, as z=0:64,y=0:512,x=0:512.")] = None,
    stage: Annotated[int | None, typer.Option(help="Stage of an Autocontext project; the last by default.")] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(help="probabilities, segmentation, uncertainty or features; repeat for several in one pass."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, uint8 or uint16; integers hold 0..1 as 0..max.")] = "float32",
    ome_version: Annotated[str, typer.Option(help="OME-Zarr version, 0.5 or 0.4.")] = "0.5",
    scheduler: Annotated[str, typer.Option(help="threads, local (processes) or tcp://host:port.")] = "threads",
    workers: Annotated[int | None, typer.Option(min=1, help="Threads or processes; the cores by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Predict a volume into a file."""
    from pipeline import display
    from pipeline.project import open_project
    from pipeline.region import parse_region
    from pipeline.volume import open_raw

    if resume and overwrite:
        raise typer.BadParameter("--resume and --overwrite exclude each other")
    trained = open_project(project)
    with _notes():
        volume = open_raw(raw, dataset=dataset, axes=axes, level=level, project_axes=trained.axes)
    region = parse_region(roi, volume.whole, volume.dims) if roi is not None else None
    from pipeline.run import Request, make_plan, run

    request = Request(
        trained,
        volume,
        out,
        outputs=tuple(output or ["probabilities"]),
        dtype=dtype,
        stage=stage,
        region=region,
        ome_version=ome_version,  # type: ignore[arg-type]
        mode="resume" if resume else "overwrite" if overwrite else "new",
        scheduler=scheduler,
        workers=workers,
    )
    make_plan(request)
    with display.report(as_json) as progress:
        summary = run(request, progress)
    document = {
        "output": summary.path,
        "seconds": round(summary.seconds, 3),
        "voxels": summary.voxels,
        "peak_bytes": _peak_bytes(),
        "computed_blocks": summary.computed_blocks,
    }
    if as_json:
        typer.echo(json.dumps(document))
    else:
        rate = summary.voxels / max(summary.seconds, 1e-9) / 1e6
        typer.echo(f"{summary.path}: {summary.voxels:,} voxels in {summary.seconds:.1f} s ({rate:.1f} million a second)")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo's files go.")] = Path("demo-output"),
    as_json: AsJson = False,
) -> None:
    """The whole main job on a made volume."""
    from pipeline import console, display
    from pipeline.demo import describe_demo, run_demo

    with display.report(as_json) as progress:
        document = run_demo(folder, progress)
    console.show(describe_demo(document), document, as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """What works on this machine, and what is missing."""
    from pipeline import console, diagnosis

    sections, document = diagnosis.diagnose()
    console.show(sections, document, as_json)


class _notes:
    """Print warnings, such as guessed axes, as lines on stderr."""

    def __enter__(self) -> None:
        self._caught = warnings.catch_warnings(record=True)
        self._list: list[Any] = self._caught.__enter__() or []
        warnings.simplefilter("always")

    def __exit__(self, *error: object) -> None:
        self._caught.__exit__(*error)  # type: ignore[arg-type]
        for warning in self._list:
            typer.echo(f"note: {warning.message}", err=True)


def _peak_bytes() -> int:
    """Largest memory of this process or of any worker process that ended, bytes."""
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main() -> None:
    """Run a command; the exit code is 0 done, 1 failed, 2 bad usage or input, 130 interrupted."""
    for entry in importlib.metadata.entry_points(group="voxelforest.commands"):
        entry.load()(app)
    try:
        app()
    except PipelineError as error:
        typer.echo(f"voxelforest: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("voxelforest: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MemoryError:
        typer.echo("voxelforest: memory ran out; use fewer --workers or a smaller VOXELFOREST_TASK_MEMORY", err=True)
        sys.exit(1)
