"""The command line: parse, call one function, print; errors become one line and an exit code.

Results go to stdout, progress and notes to stderr. Commands of other packages join through the entry-point group
``voxelforest.commands``. Commands import what they need when they run, so that small ones start fast.
"""

from __future__ import annotations

import atexit
import functools
import importlib.metadata
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import comparison_command, console
from pipeline.errors import PipelineError
from pipeline.formats import FORMATS

if TYPE_CHECKING:
    from pipeline.volume import Volume

# Any error in what was typed. Typer brings a copy of click and exports just this subclass of the subclass of it.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
INTERRUPTED = 130

app = typer.Typer(
    name="voxelforest",
    help="ilastik pixel classification on volumes of any size, in parallel blocks.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable: JSON on stdout, progress as JSON lines.")]
Dataset = Annotated[str | None, typer.Option(help="Array inside the file, where there are several.")]
Axes = Annotated[str | None, typer.Option(help="Axes of the file in its order, such as zyx or yxc.")]
Level = Annotated[int, typer.Option(min=0, help="Level of a multiscale volume, 0 the finest.")]
ProjectPath = Annotated[str, typer.Argument(metavar="PROJECT", help="ilastik project (.ilp).")]
Raw = Annotated[str, typer.Argument(help=f"Volume: {', '.join(suffix for row in FORMATS for suffix in row.suffixes)}.")]
Out = Annotated[
    str, typer.Argument(metavar="OUT", help="Output: .zarr (OME-Zarr), .h5 (as ilastik exports), .npy, .tif, .png.")
]
Roi = Annotated[str | None, typer.Option(help="Part of the volume, as z=0:64,y=0:512,x=0:512.")]
StageNumber = Annotated[int | None, typer.Option(help="Stage of an Autocontext project; the last by default.")]
Outputs = Annotated[
    list[str] | None,
    typer.Option(help="probabilities, segmentation, uncertainty or features; repeat it for several in one pass."),
]
Dtype = Annotated[str, typer.Option(help="float32, uint8 or uint16; integers hold 0..1 as 0..max.")]
Version = Annotated[str, typer.Option(help="OME-Zarr version, 0.5 or 0.4.")]
Scheduler = Annotated[str, typer.Option(help="threads, local (processes) or tcp://host:port.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Threads or processes; the cores by default.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        typer.echo(f"voxelforest {importlib.metadata.version('voxelforest')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@app.command()
def info(
    path: Annotated[str, typer.Argument(help="A project (.ilp) or a volume.")],
    project: Annotated[str | None, typer.Option(help="Say what predicting the volume with this project costs.")] = None,
    dataset: Dataset = None,
    axes: Axes = None,
    level: Level = 0,
    as_json: AsJson = False,
) -> None:
    """What a project or a volume is, and what predicting it would cost."""
    from pipeline.project import open_project

    if path.lower().endswith(".ilp"):
        from pipeline import description

        opened = open_project(path)
        console.show(description.describe(opened), description.to_dict(opened), as_json)
        return
    from pipeline import volume_description

    trained = open_project(project) if project else None
    tell = functools.partial(console.show_note, as_json=as_json)
    volume = _open_volume(path, dataset, axes, level, trained.axes if trained else None, tell)
    sections, document = volume_description.describe(volume, trained)
    console.show(sections, document, as_json)


@app.command()
def predict(
    project: ProjectPath,
    raw: Raw,
    out: Out,
    dataset: Dataset = None,
    axes: Axes = None,
    level: Level = 0,
    roi: Roi = None,
    stage: StageNumber = None,
    output: Outputs = None,
    dtype: Dtype = "float32",
    ome_version: Version = "0.5",
    scheduler: Scheduler = "threads",
    workers: Workers = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Predict a volume into a file."""
    from pipeline import display, summary
    from pipeline.project import open_project
    from pipeline.region import parse_region

    if resume and overwrite:
        raise typer.BadParameter("--resume and --overwrite exclude each other")
    trained = open_project(project)
    with display.report(as_json) as progress:
        volume = _open_volume(raw, dataset, axes, level, trained.axes, progress.note)
        region = parse_region(roi, volume.whole, volume.dims) if roi is not None else None
        from pipeline.run import Request, run

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
        done = run(request, progress)
    typer.echo(json.dumps(summary.to_dict(done)) if as_json else "\n".join(summary.describe(done)))


app.command()(comparison_command.compare)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo's files go.")] = Path("demo-output"),
    as_json: AsJson = False,
) -> None:
    """The whole main job on a made volume."""
    from pipeline import display
    from pipeline.demo import describe_demo, run_demo

    with display.report(as_json) as progress:
        document = run_demo(folder, progress)
    console.show(describe_demo(document), document, as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """What works on this machine, and what is missing."""
    from pipeline import diagnosis

    sections, document = diagnosis.diagnose()
    console.show(sections, document, as_json)


def _open_volume(
    path: str,
    dataset: str | None,
    axes: str | None,
    level: int,
    project_axes: str | None,
    tell: Callable[[str], None],
) -> Volume:
    """Open a volume and say which axes it was given, and why."""
    from pipeline.axes import AxesGuessedWarning
    from pipeline.volume import open_raw

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AxesGuessedWarning)  # said in the line below
        volume = open_raw(path, dataset=dataset, axes=axes, level=level, project_axes=project_axes)
    tell(f"{volume.url}: {volume.axes_reason}")
    return volume


@functools.cache
def _join_commands() -> None:
    for entry in importlib.metadata.entry_points(group="voxelforest.commands"):
        entry.load()(app)


def run_command(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code.

    0 done, 1 failed, 2 bad usage or input, 130 interrupted, by Ctrl-C or by a request to end (SIGTERM).
    """
    as_json = "--json" in arguments
    try:
        _join_commands()
        code = app(list(arguments), prog_name="voxelforest", standalone_mode=False)
        # The code is what typer makes of an exit, or of Ctrl-C where no command took care of it.
        if code == INTERRUPTED:
            return console.show_error("interrupted", INTERRUPTED, as_json)
        return code if isinstance(code, int) else 0
    except PipelineError as error:
        return console.show_error(error.message, error.exit_code, as_json, error.code)
    except USAGE_ERROR as error:
        return console.show_error(f"{error.format_message()} (voxelforest --help)", 2, as_json, "usage")  # type: ignore[attr-defined]
    except KeyboardInterrupt:
        return console.show_error("interrupted", INTERRUPTED, as_json)
    except MemoryError:
        advice = "memory ran out; use fewer --workers or a smaller VOXELFOREST_TASK_MEMORY"
        return console.show_error(advice, 1, as_json)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return console.show_error(f"{where}{error.strerror or error}", 1, as_json)
    except Exception as error:
        return _report_bug(error, as_json)


def _report_bug(error: Exception, as_json: bool) -> int:
    from pipeline.config import settings

    if settings().debug:
        raise error
    text = f"this should not happen: {type(error).__name__}: {error} (VOXELFOREST_DEBUG=1 shows where)"
    return console.show_error(text, 1, as_json, "bug")


def main() -> None:
    """The command ``voxelforest``."""
    interrupted: list[int] = []
    # Registered first, so it comes last: threads may still be in native code, which is not to be torn down under them.
    atexit.register(lambda: os._exit(INTERRUPTED) if interrupted else None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends a run as cleanly as Ctrl-C does
    code = run_command(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or 1
    if code == INTERRUPTED:
        interrupted.append(code)
    sys.exit(code)
