"""The analysis *nomads-classifier*: synapses as *nomads-unsupervised* finds them, told apart by a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.analyses.analysis import Analysis, AnalysisRequest, Parameter
from pipeline.analyses.channel_choice import CLASSIFICATION, classifier_channels, detection_channels
from pipeline.analyses.nomads_unsupervised import PARAMETERS

if TYPE_CHECKING:
    from pipeline.analyses.result import AnalysisResult

MODEL = Parameter(
    "model",
    Path,
    None,
    "The trained model, an .npz file; `voxelforest models import MODEL.pkl COMPONENTS.npy OUT.npz` makes one of the "
    "published classifier.",
    server_only=True,
    required=True,
)


def _wanted(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """What the names of the model's channels contain; those of the published one where none is given."""
    if parameters.get("model") is None:
        return CLASSIFICATION
    from pipeline.analyses.model import load_model

    return load_model(parameters["model"]).channels


def _choose(names: Sequence[str], parameters: Mapping[str, Any]) -> tuple[str, ...]:
    detected = detection_channels(names, parameters)
    return tuple(dict.fromkeys((*detected, *classifier_channels(names, parameters, _wanted(parameters)))))


def _read(names: Sequence[str], parameters: Mapping[str, Any]) -> tuple[str, ...]:
    needed = _choose(names, parameters)
    return tuple(name for name in names if parameters.get("measure") != "needed" or name in needed)


def _run(request: AnalysisRequest) -> AnalysisResult:
    from pipeline.analyses.model import load_model
    from pipeline.analyses.synapse_run import analyse_synapses

    return analyse_synapses(request, load_model(request.parameters["model"]))


ANALYSIS = Analysis(
    name="nomads-classifier",
    title="Synapses, classified",
    summary="Finds synapses and tells GABAergic ones from others by cubes of eight channels around each.",
    help=(
        "Detections are those of nomads-unsupervised. Around each a cube of 15 x 9 x 9 voxels is cut out of eight "
        "channels (GABA, GAD, Gephyrin, GluN, PSD, synapsin, TdTomato, VGlut: the first channel whose name contains "
        "the word), projected onto the components of a trained model and classified by its forest: non-GABA or GABA. "
        "Detections whose cube reaches out of the volume are not classified; they are at the edge."
    ),
    parameters=(MODEL, *PARAMETERS),
    channels_rule=_choose,
    reading_rule=_read,
    run=_run,
    seconds_per_voxel=150e-9,
)
