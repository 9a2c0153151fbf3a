"""The analysis *pixel-classification*: the objects of a class that an ilastik project finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.analyses.analysis import Analysis, AnalysisRequest, Parameter
from pipeline.errors import ChannelError

if TYPE_CHECKING:
    from pipeline.analyses.result import AnalysisResult

PARAMETERS = (
    Parameter("project", Path, None, "The ilastik project, an .ilp file.", server_only=True, required=True),
    Parameter(
        "inputs",
        str,
        None,
        "Names of the channels that the project was trained on, in its order, commas between; all by default.",
    ),
    Parameter("label", str, None, "Class whose objects are wanted: its name, or its number from 0."),
    Parameter(
        "threshold",
        float,
        None,
        "Probability from which on a voxel is in an object; by default as saved in the project, else 0.5.",
        minimum=0,
        maximum=1,
    ),
    Parameter("sigma", float, None, "Smoothing of probabilities; 0 for none.", minimum=0, maximum=100, unit="voxels"),
    Parameter("min_size", int, None, "Smallest object that is kept.", minimum=0, unit="voxels"),
    Parameter("max_size", int, None, "Largest object that is kept.", minimum=0, unit="voxels"),
)


def choose_inputs(names: Sequence[str], parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """The channels that the project sees.

    Raises
    ------
    ChannelError
        If one that was named is missing.
    """
    if parameters.get("inputs") is None:
        return tuple(names)
    wanted = tuple(name.strip() for name in parameters["inputs"].split(","))
    missing = [name for name in wanted if name not in names]
    if missing or len(set(wanted)) < len(wanted):
        said = f"there is no channel {missing[0]!r}" if missing else "a channel is named twice"
        raise ChannelError(f"inputs: {said}; there are {', '.join(names) or 'none'}", code="channels")
    return wanted


def _run(request: AnalysisRequest) -> AnalysisResult:
    from pipeline.analyses.pixel_run import analyse_pixels

    return analyse_pixels(request)


ANALYSIS = Analysis(
    name="pixel-classification",
    title="Pixel classification",
    summary="Finds the objects of a class of an ilastik project.",
    help=(
        "Probabilities of the project's classes are predicted, those of one class are thresholded as ilastik does it, "
        "and what is connected is an object; all objects are measured. Settings that are not given are those saved in "
        "the project, or else ilastik's defaults."
    ),
    parameters=PARAMETERS,
    channels_rule=choose_inputs,
    reading_rule=choose_inputs,
    run=_run,
    seconds_per_voxel=20e-6,
)
