"""The analysis *nomads-unsupervised*: synapses where PSD and synapsin vary together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.analyses.analysis import Analysis, AnalysisRequest, Parameter
from pipeline.analyses.channel_choice import detection_channels, read_channels

if TYPE_CHECKING:
    from pipeline.analyses.result import AnalysisResult

LEGACY = Parameter(
    "legacy",
    bool,
    False,
    "Compute what the service of 2018 computed, with its mistakes; for comparisons alone.",
)
PARAMETERS = (
    Parameter("min_size", int, 31, "Smallest detection that is kept.", minimum=1, unit="voxels"),
    Parameter(
        "measure",
        str,
        "all",
        "Which channels become columns of the table: all, or those that are needed for the detections.",
        choices=("all", "needed"),
    ),
    Parameter(
        "inclusive",
        bool,
        False,
        "Measure symmetric boxes of 5 x 11 x 11 voxels instead of the half-open ones of 4 x 10 x 10.",
    ),
    Parameter("keep_data", bool, False, "Keep the two channels of the detection as 8 bits beside the results."),
    LEGACY,
)


def _run(request: AnalysisRequest) -> AnalysisResult:
    from pipeline.analyses.synapse_run import analyse_synapses

    return analyse_synapses(request)


ANALYSIS = Analysis(
    name="nomads-unsupervised",
    title="Synapses, unsupervised",
    summary="Finds synapses where the channels PSD and synapsin vary together.",
    help=(
        "Both channels are brought to 8 bits; their covariance in a box of 3 x 3 x 3 voxels around each voxel, with "
        "each channel scaled to its own spread, is thresholded by Otsu's method; what is connected, corners included, "
        "and large enough is a detection. Around each the z-scores of every channel, plane by plane, are summed over "
        "a box. Channels are found by their names: the first that contains psd, the first that contains synapsin."
    ),
    parameters=PARAMETERS,
    channels_rule=detection_channels,
    reading_rule=read_channels,
    run=_run,
)
