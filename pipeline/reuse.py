"""Probabilities that an output holds already, so that nobody predicts again to move a threshold."""

from __future__ import annotations

from dataclasses import replace

from pipeline.errors import PipelineError
from pipeline.output import Output
from pipeline.probability_map import ProbabilityMap
from pipeline.segmentation_images import Channels
from pipeline.volume import open_raw


def find_probabilities(output: Output, source: ProbabilityMap, channels: Channels) -> ProbabilityMap | None:
    """The map that a finished output holds, if it is the very one that would be predicted.

    Parameters
    ----------
    output : Output
        What lies there may be a prediction, which has all channels, or a segmentation, which has the chosen one.
    source : ProbabilityMap
    channels : Channels
        What is needed.
    """
    if source.task is None or output.single or not output.exists():
        return None
    record = output.finished_record() or {}
    if not record.get("complete"):
        return None
    predicted = record.get("digest") == source.digest
    made = record.get("prediction") or {}
    same_channel = made == {"digest": source.digest, "channel": channels.chosen} and not channels.further
    if not predicted and not same_channel:
        return None
    try:
        volume = open_raw(str(output.target))
    except PipelineError:
        return None
    if volume.n_channels != (source.n_channels if predicted else 1) or volume.whole.shape != source.image.shape:
        return None
    held = None if predicted else (channels.chosen,)
    return replace(source, volume=volume, region=volume.whole, task=None, block=None, held=held)
