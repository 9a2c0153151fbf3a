"""A command for each registered analysis, made from its table of parameters.

A new analysis has its command as soon as it is installed; nothing is written here for it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline import analyses
from pipeline.errors import AnalysisError
from pipeline.options import AsJson, Axes, Dataset, Level, PerformanceReport, Scheduler, Workers
from pipeline.prediction_command import Overwrite, Resume

if TYPE_CHECKING:
    from pipeline.analyses.analysis import Analysis
    from pipeline.analyses.parameter import Parameter

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[VOLUME... OUT]",
        help="A volume with an axis c, or several of one channel each as NAME=VOLUME, and the folder of the results. "
        "With --col and --exp: the folder alone, or nothing for one below the data folder.",
    ),
]
Channels = Annotated[str | None, typer.Option(help="Names of the volume's channels in their order, commas between.")]
Host = Annotated[str | None, typer.Option(help="The archive, a name or a URL; VOXELFOREST_BOSS_URL by default.")]
TokenFile = Annotated[
    Path | None, typer.Option(help="File that holds the archive's token; else VOXELFOREST_BOSS_TOKEN is taken.")
]
Collection = Annotated[str | None, typer.Option(help="Collection in the archive.")]
Experiment = Annotated[str | None, typer.Option(help="Experiment in the archive.")]
AxisRange = Annotated[str | None, typer.Option(help='Part of the volume along this axis, as "0,24"; else all of it.')]
Push = Annotated[bool, typer.Option("--push", help="Push the results to the archive, to VOXELFOREST_BOSS_PUSH.")]

METAVARS = {int: "N", float: "NUMBER", str: "TEXT", Path: "FILE"}
COMMON: dict[str, tuple[Any, Any]] = {
    "paths": (Paths, None),
    "host": (Host, None),
    "token_file": (TokenFile, None),
    "col": (Collection, None),
    "exp": (Experiment, None),
    "z_range": (AxisRange, None),
    "y_range": (AxisRange, None),
    "x_range": (AxisRange, None),
    "push": (Push, False),
    "channels": (Channels, None),
    "dataset": (Dataset, None),
    "axes": (Axes, None),
    "level": (Level, 0),
    "scheduler": (Scheduler, "threads"),
    "workers": (Workers, None),
    "performance_report": (PerformanceReport, None),
    "resume": (Resume, False),
    "overwrite": (Overwrite, False),
    "as_json": (AsJson, False),
}


def join(app: typer.Typer) -> None:
    """Add a command for each analysis that is installed; for a broken one a command that says why."""
    for name in analyses.names():
        try:
            analysis = analyses.get(name)
        except AnalysisError as error:
            app.command(name, help=f"Not usable: {error.message}")(_refusal(error))
        else:
            app.command(name, help=f"{analysis.summary} {analysis.help}", short_help=analysis.summary)(
                _command(analysis)
            )


def _refusal(error: AnalysisError) -> Callable[[], None]:
    def refuse() -> None:
        raise error

    return refuse


def _command(analysis: Analysis) -> Callable[..., None]:
    """A function with an argument for each option, as typer reads it."""

    def run(**given: Any) -> None:
        _run(analysis, given)

    options = {**COMMON, **{parameter.name: _option(parameter) for parameter in analysis.parameters}}
    kind = inspect.Parameter.KEYWORD_ONLY
    wanted = [inspect.Parameter(name, kind, default=value, annotation=a) for name, (a, value) in options.items()]
    run.__signature__ = inspect.Signature(wanted)  # type: ignore[attr-defined]
    run.__annotations__ = {name: annotation for name, (annotation, _) in options.items()}
    return run


def _option(parameter: Parameter) -> tuple[Any, Any]:
    """Annotation and default; values are checked by the parameter itself, so that all ways in say the same."""
    if parameter.kind is bool:
        names = f"{parameter.option}/--no-{parameter.option[2:]}" if parameter.default else parameter.option
        return Annotated[bool, typer.Option(names, help=parameter.help)], parameter.default
    unit = f" In {parameter.unit}." if parameter.unit else ""
    metavar = "|".join(parameter.choices) or METAVARS[parameter.kind]
    shown = str(parameter.default) if parameter.default is not None else False
    option = typer.Option(parameter.option, help=parameter.help + unit, metavar=metavar, show_default=shown)
    return Annotated[str | None, option], None


def _run(analysis: Analysis, given: dict[str, Any]) -> None:
    from pipeline import display
    from pipeline.analysis_inputs import Request, analyse

    if given["resume"] and given["overwrite"]:
        raise typer.BadParameter("--resume and --overwrite exclude each other")
    own = {parameter.name: given[parameter.name] for parameter in analysis.parameters}
    parameters = analysis.check_parameters({name: value for name, value in own.items() if value is not None})
    request = Request(**{name: given[name] for name in COMMON if name not in ("as_json", "resume", "overwrite")})
    mode = "resume" if given["resume"] else "overwrite" if given["overwrite"] else "new"
    with display.report(given["as_json"]) as progress:
        result, pushed = analyse(analysis, request, parameters, mode, progress)  # type: ignore[arg-type]
    document = {
        "output": str(result.folder),
        "objects": result.objects,
        "reused": result.reused,
        "files": {**result.links, **result.volumes},
        "pushed": pushed,
    }
    typer.echo(json.dumps(document) if given["as_json"] else "\n".join(_describe(document)))


def _describe(document: dict[str, Any]) -> list[str]:
    before = " (was finished before, nothing was left to do)" if document["reused"] else ""
    lines = [f"{document['output']}: {document['objects']:,} detections{before}"]
    lines += [f"  {name}: {file}" for name, file in document["files"].items()]
    return lines + [f"  pushed: {url}" for url in document["pushed"].values()]
