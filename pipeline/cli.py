"""The command line: parse, call one function, print; errors become one line and an exit code.

Results go to stdout, progress and notes to stderr. Commands of other packages join through the entry-point group
``voxelforest.commands``. Commands import what they need when they run, so that small ones start fast.
"""

from __future__ import annotations

import atexit
import functools
import importlib.metadata
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pipeline import (
    analysis_command,
    cluster_command,
    comparison_command,
    console,
    models_command,
    prediction_command,
    segmentation_command,
    training_command,
)
from pipeline.errors import PipelineError
from pipeline.jobs import command as jobs_command
from pipeline.options import AsJson, Axes, Dataset, Level, open_named

# Any error in what was typed. Typer brings a copy of click and exports just this subclass of the subclass of it.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
INTERRUPTED = 130

app = typer.Typer(
    name="voxelforest",
    help="ilastik pixel classification on volumes of any size, in parallel blocks.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    project_axes = trained.axes if trained else None
    volume = open_named(path, tell, dataset=dataset, axes=axes, level=level, project_axes=project_axes)
    sections, document = volume_description.describe(volume, trained)
    console.show(sections, document, as_json)


app.command()(prediction_command.predict)
app.command()(segmentation_command.segment)
app.command()(comparison_command.compare)
app.command()(training_command.train)
app.add_typer(cluster_command.app, name="cluster")
app.add_typer(models_command.models, name="models")
app.add_typer(jobs_command.jobs, name="jobs")


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
def doctor(
    scheduler: Annotated[
        str | None, typer.Option(help="Also ask this scheduler, as predict takes it, and compare versions.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What works on this machine, and what is missing."""
    from pipeline import diagnosis

    sections, document = diagnosis.diagnose(scheduler)
    console.show(sections, document, as_json)


@functools.cache
def join_commands() -> None:
    for entry in importlib.metadata.entry_points(group="voxelforest.commands"):
        entry.load()(app)
    analysis_command.join(app)


def run_command(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code.

    0 done, 1 failed, 2 bad usage or input, 130 interrupted, by Ctrl-C or by a request to end (SIGTERM).
    """
    as_json = "--json" in arguments
    try:
        join_commands()
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
