"""Which channels the two synapse pipelines take, by what their names contain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import ChannelError

DETECTION = ("psd", "synapsin")
UNSCALED = "annotation"  # a channel of this very name is measured as it is
CLASSIFICATION = ("GABA", "GAD", "Gephyrin", "GluN", "PSD", "synapsin", "TdTomato", "VGlut")


def detection_channels(names: Sequence[str], parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """The channels whose covariance is thresholded: the first PSD and the first synapsin, in this order.

    With ``legacy`` the first two names of either, in the order of the list.

    Raises
    ------
    ChannelError
        If there are not two, saying what there is.
    """
    if parameters.get("legacy"):
        hits = [name for name in names if any(word in name.lower() for word in DETECTION)]
        if len(hits) < 2:
            raise _missing("two channels whose names contain psd or synapsin are needed", names)
        return hits[0], hits[1]
    found: list[str] = []
    for word in DETECTION:
        hit = next((name for name in names if word in name.lower() and name not in found), None)
        if hit is None:
            raise _missing(f"there is no channel whose name contains {word} (in any case)", names)
        found.append(hit)
    return tuple(found)


def read_channels(names: Sequence[str], parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """All channels, as each is a column of the table, or with ``measure=needed`` those that decide alone."""
    needed = detection_channels(names, parameters)
    return tuple(name for name in names if parameters.get("measure") != "needed" or name in needed)


def find_classifier_channels(names: Sequence[str], wanted: Sequence[str] = CLASSIFICATION) -> dict[str, str | None]:
    """For each wanted word the first name that contains it, case ignored; None where there is none."""
    return {word: next((name for name in names if word.lower() in name.lower()), None) for word in wanted}


def classifier_channels(
    names: Sequence[str], parameters: Mapping[str, Any], wanted: Sequence[str] = CLASSIFICATION
) -> tuple[str, ...]:
    """The channels that cubes are cut from, in the order of the classifier.

    With ``legacy`` missing ones are left out, which shifts all features after them.

    Raises
    ------
    ChannelError
        If channels are missing, naming them.
    """
    found = find_classifier_channels(names, wanted)
    missing = [word for word, name in found.items() if name is None]
    if missing and not parameters.get("legacy"):
        text = f"the classifier needs channels whose names contain {', '.join(missing)}"
        raise _missing(text, names)
    return tuple(name for name in found.values() if name is not None)


def _missing(text: str, names: Sequence[str]) -> ChannelError:
    return ChannelError(f"{text}; there are {', '.join(names) or 'none'}", code="channels")
